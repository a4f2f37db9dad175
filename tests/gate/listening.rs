//! A gate listens, or it says why not and ends; it is ready while it listens, and not before or after.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use crate::support::alone::{Alone, Place, folder, free_address, settings};
use crate::support::recorder::Recorder;

fn tcp() -> Place {
    Place::Tcp(free_address())
}

fn unix(folder: &Path, name: &str) -> Place {
    Place::Unix(folder.join(name))
}

/// Fails unless the log names the address, the process that has it, and what to do.
fn assert_names_the_address(gate: &Alone, address: &Place, setting: &str, process: u32) {
    let log = gate.log();
    for part in [
        format!("`{}` is in use", address.setting().trim_start_matches("unix:")),
        format!("process {process}"),
        setting.to_owned(),
    ] {
        assert!(log.contains(&part), "`{part}` is not in\n{log}");
    }
    assert!(!log.contains("the gate listens") && !log.contains("panicked"), "{log}");
}

/// Whoever can connect to the proxy's socket speaks for the front of the gate, and to the admin socket, for the operator.
#[tokio::test]
async fn a_unix_socket_is_for_those_whom_the_settings_name() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let (proxy, admin) = (unix(folder.path(), "proxy"), unix(folder.path(), "admin"));
    for (home, set, expected) in [
        ("default", "", [0o660, 0o600]),
        ("set", "proxy_mode = \"0666\"\nadmin_mode = \"660\"\n", [0o666, 0o660]),
    ] {
        let home = folder.path().join(home);
        let settings = settings(&home, &proxy, &admin, &upstream);
        let settings = settings.replacen("[listen]\n", &format!("[listen]\n{set}"), 1);
        let mut gate = Alone::serve(&home, &settings, &[]);
        gate.ready(&admin, 200).await;
        let mode = |name: &str| {
            let file = std::fs::metadata(folder.path().join(name)).expect("the socket");
            file.permissions().mode() & 0o777
        };
        assert_eq!([mode("proxy"), mode("admin")], expected, "{}", gate.log());
        gate.signal("TERM");
        assert_eq!(gate.exit_code().await, Some(0), "{}", gate.log());
    }
}

#[tokio::test]
async fn a_taken_port_is_reported_and_the_gate_ends() {
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    for setting in ["[listen] proxy", "[listen] admin"] {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let taken = (Place::Tcp(taken.local_addr().expect("its address")), taken);
        let other = tcp();
        let (proxy, admin) = if setting.ends_with("proxy") { (&taken.0, &other) } else { (&other, &taken.0) };
        let home = folder.path().join(setting.replace(' ', ""));
        // What is no database would be complained of first.
        std::fs::create_dir_all(&home).expect("a folder");
        std::fs::write(home.join("gate.sqlite"), "no database").expect("a file");
        let mut gate = Alone::serve(&home, &settings(&home, proxy, admin, &upstream), &[]);
        assert_eq!(gate.exit_code().await, Some(2), "{}", gate.log());
        assert_names_the_address(&gate, &taken.0, setting, std::process::id());
    }
}

#[tokio::test]
async fn a_second_gate_gets_none_of_the_firsts_addresses() {
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let homes = ["one", "two", "three"].map(|name| folder.path().join(name));
    for (proxy, admin) in [(tcp(), tcp()), (unix(folder.path(), "proxy"), unix(folder.path(), "admin"))] {
        let mut first = Alone::serve(&homes[0], &settings(&homes[0], &proxy, &admin, &upstream), &[]);
        first.ready(&admin, 200).await;
        let others = (tcp(), tcp());
        for (home, setting, proxy, admin, taken) in [
            (&homes[1], "[listen] proxy", &proxy, &others.1, &proxy),
            (&homes[2], "[listen] admin", &others.0, &admin, &admin),
        ] {
            let mut second = Alone::serve(home, &settings(home, proxy, admin, &upstream), &[]);
            assert_eq!(second.exit_code().await, Some(2), "{}", second.log());
            assert_names_the_address(&second, taken, setting, first.process.id());
        }
        assert_eq!(proxy.get("/x").await.expect("the first still serves").0, 200);
        first.ready(&admin, 200).await;
    }
}

#[tokio::test]
async fn a_socket_that_a_dead_gate_left_is_replaced_and_a_file_is_not() {
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let (proxy, admin) = (unix(folder.path(), "proxy"), unix(folder.path(), "admin"));
    let settings = settings(folder.path(), &proxy, &admin, &upstream);
    let mut gate = Alone::serve(folder.path(), &settings, &[]);
    gate.ready(&admin, 200).await;
    gate.signal("KILL");
    gate.process.wait().expect("it ends");
    assert!(folder.path().join("proxy").exists() && folder.path().join("admin").exists());
    let mut gate = Alone::serve(folder.path(), &settings, &[]);
    gate.ready(&admin, 200).await;
    assert_eq!(proxy.get("/x").await.expect("it serves").0, 200);
    drop(gate);
    for name in ["proxy", "admin"] {
        let file = folder.path().join(name);
        std::fs::remove_file(&file).expect("the socket that was left");
        std::fs::write(&file, "somebody's").expect("a file");
        let mut gate = Alone::serve(folder.path(), &settings, &[]);
        assert_eq!(gate.exit_code().await, Some(2), "{}", gate.log());
        assert!(gate.log().contains("is not a socket"), "{}", gate.log());
        assert_eq!(std::fs::read_to_string(&file).expect("the file is left alone"), "somebody's");
        std::fs::remove_file(&file).expect("the file");
    }
}

#[tokio::test]
async fn what_cannot_be_an_address_is_reported() {
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    // TEST-NET-1 (RFC 5737): no machine has that address.
    let nobodys = Place::Tcp("192.0.2.1:8080".parse().expect("an address"));
    let nowhere = unix(folder.path(), "no/such/folder/socket");
    for (proxy, expected) in [(&nobodys, "`192.0.2.1:8080`"), (&nowhere, "no/such/folder/socket`")] {
        let mut gate = Alone::serve(folder.path(), &settings(folder.path(), proxy, &tcp(), &upstream), &[]);
        assert_eq!(gate.exit_code().await, Some(2), "{}", gate.log());
        assert!(gate.log().contains(expected) && gate.log().contains("[listen] proxy"), "{}", gate.log());
    }
}

#[tokio::test]
async fn a_gate_that_drains_is_not_ready_and_says_so() {
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let (proxy, admin) = (tcp(), tcp());
    let mut gate = Alone::serve(folder.path(), &settings(folder.path(), &proxy, &admin, &upstream), &[]);
    let ready = gate.ready(&admin, 200).await;
    assert_eq!(ready["listener"], "open", "{ready}");
    gate.logs("the gate listens").await;
    // A request that keeps it from ending at once.
    let slow = tokio::spawn(async move { proxy.get("/never").await });
    while upstream.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gate.signal("TERM");
    let ready = gate.ready(&admin, 503).await;
    assert_eq!((&ready["ready"], &ready["listener"]), (&false.into(), &"draining".into()), "{ready}");
    slow.abort();
    assert_eq!(gate.exit_code().await, Some(0));
}

#[tokio::test]
async fn an_interrupted_gate_ends_at_once_and_calls_that_no_fault() {
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let (proxy, admin) = (tcp(), tcp());
    let mut gate = Alone::serve(folder.path(), &settings(folder.path(), &proxy, &admin, &upstream), &[]);
    gate.ready(&admin, 200).await;
    gate.signal("INT");
    assert_eq!(gate.exit_code().await, Some(0), "{}", gate.log());
    assert!(!gate.log().contains("no longer accepts connections"), "{}", gate.log());
}

#[tokio::test]
async fn both_addresses_are_handed_over_and_a_third_gate_is_refused() {
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let (proxy, admin) = (tcp(), tcp());
    let settings = settings(folder.path(), &proxy, &admin, &upstream);
    let mut old = Alone::serve(folder.path(), &settings, &[]);
    old.ready(&admin, 200).await;
    let mut new = Alone::serve(folder.path(), &settings, &["--upgrade"]);
    new.logs("waiting for the running gate's sockets").await;
    // While it waits, it claims nothing: every answer is the old gate's.
    for _ in 0..20 {
        assert_eq!(admin.get("/readyz").await.expect("the admin address answers").0, 200);
    }
    old.signal("QUIT");
    let ending = tokio::spawn(async move { (old.exit_code().await, old) });
    while !ending.is_finished() {
        assert_eq!(proxy.get("/x").await.expect("the proxy answers").0, 200);
        let answer = admin.get("/readyz").await.expect("the admin address answers");
        assert_eq!(answer.0, 200, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (code, old) = ending.await.expect("it ended");
    assert_eq!(code, Some(0), "{}", old.log());
    new.ready(&admin, 200).await;
    let third = folder.path().join("third");
    let mut third = Alone::serve(&third, &settings, &[]);
    assert_eq!(third.exit_code().await, Some(2), "{}", third.log());
    assert_names_the_address(&third, &proxy, "[listen] proxy", new.process.id());
    assert_eq!(proxy.get("/x").await.expect("the proxy answers").0, 200);
}

#[tokio::test]
async fn a_gate_that_nobody_takes_over_goes_on() {
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let (proxy, admin) = (tcp(), tcp());
    let mut gate = Alone::serve(folder.path(), &settings(folder.path(), &proxy, &admin, &upstream), &[]);
    gate.ready(&admin, 200).await;
    gate.signal("QUIT");
    gate.logs("no gate took the sockets").await;
    gate.ready(&admin, 200).await;
    assert_eq!(proxy.get("/x").await.expect("it serves").0, 200);
    gate.signal("TERM");
    assert_eq!(gate.exit_code().await, Some(0));
}

/// The demo prints what to click on when it is there, and not before.
#[tokio::test]
async fn a_demo_whose_port_is_taken_says_so_and_ends() {
    for flag in ["--port", "--admin-port"] {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("its address");
        let other = if flag == "--port" { "--admin-port" } else { "--port" };
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_console-gate"))
            .args(["demo", flag, &address.port().to_string(), other, &free_address().port().to_string()])
            .output()
            .expect("the demo runs");
        let [out, errors] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(&format!("`{address}` is in use by ")) && errors.contains(flag), "{errors}");
        assert!(!out.contains("Click through it"), "{out}");
    }
}

/// The next gate is given the sockets and dies before it listens: the one that gave them away has not stopped for that.
#[tokio::test]
async fn a_gate_whose_successor_dies_goes_on() {
    let folder = folder();
    let upstream = Recorder::start(folder.path(), "upstream.sock");
    let (proxy, admin) = (tcp(), tcp());
    let mut old = Alone::serve(folder.path(), &settings(folder.path(), &proxy, &admin, &upstream), &[]);
    old.ready(&admin, 200).await;
    // The next gate's admin address is in use by then, and not by a gate.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let elsewhere = Place::Tcp(taken.local_addr().expect("its address"));
    let mut next =
        Alone::serve(folder.path(), &settings(folder.path(), &proxy, &elsewhere, &upstream), &["--upgrade"]);
    next.logs("waiting for the running gate's sockets").await;
    old.signal("QUIT");
    assert_eq!(next.exit_code().await, Some(2), "{}", next.log());
    assert!(next.log().contains("[listen] admin"), "{}", next.log());
    old.logs("no gate took the sockets").await;
    old.ready(&admin, 200).await;
    assert_eq!(proxy.get("/x").await.expect("it serves").0, 200);
}

#[tokio::test]
async fn a_gate_is_ready_only_once_console_has_answered() {
    let folder = folder();
    // Nobody listens there yet.
    let socket = folder.path().join("upstream.sock");
    let (proxy, admin) = (tcp(), tcp());
    let text = format!(
        "[listen]\nproxy = \"{}\"\nadmin = \"{}\"\n[upstream]\nservers = [\"unix:{}\"]\nhealth_interval_ms = 100\n",
        proxy.setting(),
        admin.setting(),
        socket.display()
    );
    let mut gate = Alone::serve(folder.path(), &text, &[]);
    let ready = gate.ready(&admin, 503).await;
    assert_eq!(ready["upstream"], "down", "{ready}");
    let _upstream = Recorder::start(folder.path(), "upstream.sock");
    gate.ready(&admin, 200).await;
}
