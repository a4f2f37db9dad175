//! `console-gate diff` on a large house: ten thousand admins and ten thousand routes. `make test` has a small edition;
//! `make scale` the large one, with an optimised build.

use std::time::{Duration, Instant};

use crate::support::Workbench;

/// Each admin in three of a hundred groups, so that hardly two hold the same; a route for each of a hundred roles in turn.
fn house(admins: usize, routes: usize) -> Workbench {
    let bench = Workbench::new();
    bench.sql(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99)
         INSERT INTO rbac_groups (id, name) SELECT 'g' || i, 'group-' || i FROM n;
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99)
         INSERT INTO rbac_roles (id, name) SELECT 'r' || i, 'role-' || i FROM n;
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99)
         INSERT INTO rbac_group_roles (group_id, role_id) SELECT 'g' || i, 'r' || i FROM n;
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last})
         INSERT INTO admins (id, email) SELECT 'admin-' || i, i || '@example.org' FROM n;
         INSERT INTO admin_roles (admin_id, role, granted_by)
         SELECT id, CASE WHEN CAST(substr(id, 7) AS INTEGER) % 3 = 0 THEN 'ops' ELSE 'support' END, 't' FROM admins;
         INSERT INTO rbac_user_groups (user_id, group_id, granted_by)
         SELECT id, 'g' || (CAST(substr(id, 7) AS INTEGER) * 7 % 100), 't' FROM admins
         UNION SELECT id, 'g' || (CAST(substr(id, 7) AS INTEGER) / 100 * 13 % 100), 't' FROM admins
         UNION SELECT id, 'g' || (CAST(substr(id, 7) AS INTEGER) * 31 / 50 % 100), 't' FROM admins;",
        last = admins - 1
    ));
    let mut mapping = String::from(
        "version = 1\nclusters.S1 = \"legacy\"\n[blueprints.b]\ncluster = \"S1\"\n[blueprints.b.routes]\n",
    );
    for route in 0..routes {
        let pattern = match route % 3 {
            0 => format!("/console/area{route}/list"),
            1 => format!("/console/area{}/<id>/view{route}", route % 100),
            _ => format!("/console/area{route}/<int:n>/<slug>"),
        };
        let legacy = if route % 2 == 0 { "ops" } else { "support" };
        mapping +=
            &format!("\"GET {pattern}\" = {{ legacy = [\"{legacy}\"], role = \"role-{}\" }}\n", route % 100);
    }
    bench.write("routes.toml", &mapping);
    bench
}

fn compared(admins: usize, routes: usize) -> Duration {
    let bench = house(admins, routes);
    let began = Instant::now();
    // A gibibyte of address space is less than a gibibyte of memory.
    let output = bench.run_within_kibibytes(1 << 20, &["diff", "routes.toml", "--cluster", "S1=v2"]);
    let took = began.elapsed();
    let headline = output.stdout.lines().next().unwrap_or_default().to_owned();
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(headline.starts_with(&format!("{admins} admins, {routes} routes: ")), "{headline}");
    println!("{headline}\n{took:?}");
    took
}

#[test]
fn a_large_house_is_compared_within_a_gibibyte() {
    compared(500, 500);
}

/// Less than 10 s and less than 1 GiB, on two cores.
#[test]
#[ignore = "needs an optimised build: `make scale`"]
fn ten_thousand_admins_by_ten_thousand_routes() {
    let took = compared(10_000, 10_000);
    assert!(took < Duration::from_secs(10), "{took:?}");
}
