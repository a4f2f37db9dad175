//! What ships with the binary: completions, man pages, a health check for images without curl.

use std::io::{Read as _, Write as _};

use crate::support::Workbench;

#[test]
fn completions_and_man_pages_have_every_command() {
    let bench = Workbench::new();
    let help = bench.run(&["--help"]).stdout;
    let listed = help.split("Usage: ").nth(1).unwrap().split("\nOptions:\n").next().unwrap();
    let commands: Vec<&str> =
        listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    assert!(commands.len() > 25 && commands.contains(&"doctor"), "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let output = bench.run(&["completions", shell]);
        assert_eq!(output.code, 0, "{output:?}");
        for command in &commands {
            assert!(output.stdout.contains(command), "{shell} lacks {command}");
        }
    }
    assert_eq!(bench.run(&["man", "pages"]).code, 0);
    for command in commands.iter().filter(|command| **command != "help") {
        let page = std::fs::read_to_string(bench.path(&format!("pages/console-gate-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH OPTIONS"), "{command}");
    }
    let page = std::fs::read_to_string(bench.path("pages/console-gate-group-add.1")).unwrap();
    assert!(page.contains("until"), "{page}");
}

#[test]
fn a_health_check_says_what_the_gate_says() {
    let bench = Workbench::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 1024];
            let count = stream.read(&mut head).unwrap();
            let (status, body) = match head[..count].starts_with(b"GET /readyz ") {
                true => ("503 Service Unavailable", "the database"),
                false => ("200 OK", "ok"),
            };
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    let alive = bench.run(&["healthcheck", "--admin", &address]);
    assert_eq!((alive.code, alive.stdout.as_str()), (0, "200 ok\n"));
    let ready = bench.run(&["healthcheck", "--ready", "--admin", &address]);
    assert_eq!((ready.code, ready.stdout.as_str()), (1, "503 the database\n"));
    let nobody = bench.run(&["healthcheck", "--admin", "127.0.0.1:1"]);
    assert_eq!(nobody.code, 1, "{nobody:?}");
    assert!(nobody.stdout.contains("cannot connect"), "{nobody:?}");
}
