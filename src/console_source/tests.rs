//! Python in, facts out; and whatever the text, no panic.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn read_files(files: &[(&str, &str)]) -> ConsoleSource {
    let file = |(path, text): &(&str, &str)| PythonFile {
        path: (*path).to_owned(),
        name: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    read("/srv/console", &files.iter().map(file).collect::<Vec<_>>())
}

/// `METHODS rule gate` of each route.
fn routes(files: &[(&str, &str)]) -> Vec<String> {
    let gate = |gate: &Gate| match gate {
        Gate::None => "none".to_owned(),
        Gate::AnyOf(roles) => roles.iter().cloned().collect::<Vec<_>>().join("|"),
        Gate::UnreadableSite(_) | Gate::Unreadable(_) => "unreadable".to_owned(),
    };
    let line = |route: &Route| {
        let methods = route.methods.as_ref().map_or("?".to_owned(), ToString::to_string);
        format!("{methods} {} {}", route.rule.as_deref().unwrap_or("?"), gate(&route.gate))
    };
    read_files(files).routes.iter().map(line).collect()
}

const VIEW: &str = "from flask import Blueprint\nbp = Blueprint('b', __name__, url_prefix='/b')\n";

#[test]
fn names_mean_what_python_lets_them_mean() {
    let cases = [
        // A constant of the module, of the function round the view, of a class.
        ("R = ('ops',)\n@bp.get('/x')\n@require_role(*R)\ndef v(): pass", "GET /b/x ops"),
        (
            "def f():\n    R = 'ops'\n    @bp.get('/x')\n    @require_role(R)\n    def v(): pass",
            "GET /b/x ops",
        ),
        ("class R:\n    O = 'ops'\n@bp.get('/x')\n@require_role(R.O)\ndef v(): pass", "GET /b/x ops"),
        ("A = 'o'\nB = A + 'ps'\n@bp.get('/x')\n@require_role(B)\ndef v(): pass", "GET /b/x ops"),
        // What the running program may change.
        ("def f(R):\n    @bp.get('/x')\n    @require_role(R)\n    def v(): pass", "GET /b/x unreadable"),
        ("R = 'ops'\nR = 'all'\n@bp.get('/x')\n@require_role(R)\ndef v(): pass", "GET /b/x unreadable"),
        ("R = ['a']\nR += ['b']\n@bp.get('/x')\n@require_role(*R)\ndef v(): pass", "GET /b/x unreadable"),
        ("R = ['a']\nR[0] = 'b'\n@bp.get('/x')\n@require_role(*R)\ndef v(): pass", "GET /b/x unreadable"),
        (
            "R = 'a'\ndef f():\n    global R\n    R = 'b'\n@bp.get('/x')\n@require_role(R)\ndef v(): pass",
            "GET /b/x unreadable",
        ),
        (
            "class R(Enum):\n    O = 'ops'\n@bp.get('/x')\n@require_role(R.O)\ndef v(): pass",
            "GET /b/x unreadable",
        ),
        ("R = R\n@bp.get('/x')\n@require_role(R)\ndef v(): pass", "GET /b/x unreadable"),
        ("N = 'x'\n@bp.get(f'/{N!r}')\ndef v(): pass", "GET ? none"),
        ("@bp.get(b'/x')\ndef v(): pass", "GET ? none"),
        // Two decorators are one gate where one of them asks for less.
        ("@bp.get('/x')\n@require_role('a', 'b')\n@require_role('b')\ndef v(): pass", "GET /b/x b"),
        (
            "@bp.get('/x')\n@require_role('a', 'b')\n@require_role('b', 'c')\ndef v(): pass",
            "GET /b/x unreadable",
        ),
        // Flask registers the view before what stands above the route.
        ("@require_role('a')\n@bp.get('/x')\ndef v(): pass", "GET /b/x none"),
        (
            "@bp.route('/x', methods=['get', 'POST'])\n@require_role('a')\nasync def v(): pass",
            "GET,POST /b/x a",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(routes(&[("views.py", &format!("{VIEW}{text}\n"))]), [expected], "{text}");
    }
}

/// An absolute import may leave out folders that are no packages, and no others.
#[test]
fn an_import_means_the_file_that_python_would_take() {
    let view = |import: &str| format!("{VIEW}{import}\n@bp.get('/x')\n@require_role(R)\ndef v(): pass\n");
    let cases = [
        ("from .roles import R", "ops"),
        ("from ..app.roles import R", "ops"),
        ("from app.roles import R", "ops"),
        ("from console.app.roles import R", "ops"),
        ("from app import roles\nR = roles.R", "ops"),
        ("import app.roles\nR = app.roles.R", "ops"),
        ("import app.roles as names\nR = names.R", "ops"),
        // `roles` by itself is somebody else's module: `app` is a package.
        ("from roles import R", "unreadable"),
        ("from other.roles import R", "unreadable"),
    ];
    for (import, expected) in cases {
        let view = view(import);
        let files =
            [("app/__init__.py", ""), ("app/roles.py", "R = 'ops'\n"), ("app/views.py", view.as_str())];
        assert_eq!(routes(&files), [format!("GET /b/x {expected}")], "{import}");
    }
}

#[test]
fn a_prefix_at_the_registration_stands_in_the_place_of_the_blueprints_own() {
    let view = format!("{VIEW}@bp.get('/x')\ndef v(): pass\n");
    let cases = [
        ("app.register_blueprint(bp)", &["GET /b/x none"][..]),
        ("app.register_blueprint(bp, url_prefix='/c/')", &["GET /c/x none"]),
        ("app.register_blueprint(bp, url_prefix='')", &["GET /x none"]),
        ("app.register_blueprint(bp, url_prefix=None)", &["GET /b/x none"]),
        ("app.register_blueprint(bp, url_prefix=PREFIX)", &["GET ? none"]),
        ("app.register_blueprint(bp, **options)", &["GET ? none"]),
        (
            "app.register_blueprint(bp)\napp.register_blueprint(bp, name='c', url_prefix='/c')",
            &["GET /b/x none", "GET /c/x none"],
        ),
        (
            "p = Blueprint('p', 'p', url_prefix='/p')\np.register_blueprint(bp)\napp.register_blueprint(p)",
            &["GET /p/b/x none"],
        ),
        (
            "p = Blueprint('p', 'p', url_prefix='/p')\np.register_blueprint(p)\np.register_blueprint(bp)",
            &["GET ? none"],
        ),
    ];
    for (registration, expected) in cases {
        let app = format!(
            "from flask import Flask, Blueprint\nfrom views import bp\napp = Flask('app')\n{registration}\n"
        );
        assert_eq!(routes(&[("app.py", &app), ("views.py", &view)]), expected, "{registration}");
    }
}

const ROLES: [&str; 4] = ["superadmin", "ops", "support", "readonly"];

/// The ways in which a gate is written in Console.
fn spellings(names: &str) -> [String; 6] {
    let view = |gate: &str| format!("{VIEW}@bp.get('/x')\n@{gate}\ndef v():\n    pass\n");
    [
        view(&format!("require_role({names})")),
        view(&format!("auth.require_role(  # '{names}'\n    {names},\n)")),
        format!("NAMES = ({names},)\n{}", view("require_role(*NAMES)")),
        format!("guard = require_role({names})\n{}", view("guard")),
        format!("from auth import require_role as rr\n{}", view(&format!("rr(*[{names}])"))),
        format!("{VIEW}def v():\n    pass\nbp.add_url_rule('/x', view_func=require_role({names})(v))\n"),
    ]
}

/// Python, in pieces that are put together at random.
const FRAGMENTS: [&str; 24] = [
    "@",
    "require_role",
    "(",
    ")",
    "\"ops\"",
    "'",
    "\"\"\"",
    "f\"{",
    "}",
    "\n",
    "    ",
    "def f():",
    "class V(View):",
    "bp",
    "=",
    ".route",
    "*",
    "**",
    ",",
    ":",
    "from . import ",
    "lambda",
    "# ",
    "\\",
];

proptest! {
    #[test]
    fn however_a_gate_is_written_it_is_read(roles in proptest::sample::subsequence(&ROLES[..], 1..=4)) {
        let names: Vec<String> = roles.iter().map(|role| format!("'{role}'")).collect();
        let expected: BTreeSet<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        for text in spellings(&names.join(", ")) {
            let source = read_files(&[("views.py", &text)]);
            prop_assert_eq!(source.routes.len(), 1, "{}", text);
            prop_assert_eq!(&source.routes[0].gate, &Gate::AnyOf(expected.clone()), "{}", text);
        }
    }

    #[test]
    fn no_text_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_files(&[("views.py", &String::from_utf8_lossy(&bytes))]);
    }

    #[test]
    fn no_fragments_panic(parts in proptest::collection::vec(proptest::sample::select(&FRAGMENTS[..]), 0..80)) {
        read_files(&[("views.py", &parts.concat()), ("__init__.py", &parts.join(" "))]);
    }
}

/// The parser nests on the heap, and so must whatever walks along its trees.
#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let deep = |open: &str, close: &str| {
        format!(
            "{VIEW}@bp.get('/x')\n@require_role({}'a'{})\ndef v(): pass\n",
            open.repeat(20_000),
            close.repeat(20_000)
        )
    };
    for text in [deep("(", ")"), deep("[", "]"), deep("'a' + ", ""), deep("-", ""), deep("f(", ")")] {
        read_files(&[("views.py", &text)]);
    }
}
