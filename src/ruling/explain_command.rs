//! The command that shows an operator why a caller was denied, and what could be granted.
//!
//! It is shown to the denied caller, to be handed on. So it has only what they know: their own request and their
//! own id. They do not see what the command prints.

use policy::decision::{Denial, Reason};
use policy::firewall::Request;
use policy::identity::Principal;

/// The command line; `None` for machines, and for paths without a row, about which it would show nothing more.
pub(super) fn explain_command(denial: &Denial, request: &Request) -> Option<String> {
    match (&denial.principal, denial.lack.reason) {
        (Principal::Machine { .. }, _) | (_, Reason::UnmappedRoute) => None,
        (Principal::Admin { id, .. }, _) => {
            let path = shell_word(request.target().path_raw());
            let id = match id.as_str() {
                dashed if dashed.starts_with('-') => format!("--as={}", shell_word(dashed)),
                plain => format!("--as {}", shell_word(plain)),
            };
            Some(format!("console-gate explain {} {path} {id}", request.method()))
        }
    }
}

/// The text as one word of a POSIX shell. A stranger may have made the path, and an operator will paste this:
/// `/x';rm -rf ~;'` must stay a path.
fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-@:%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use policy::decision::Lack;
    use policy::firewall::{Policy, inspect};
    use policy::ids::{AdminId, MachineTokenId};
    use policy::mapping::Forbidden;

    fn command(reason: Reason, principal: &Principal, target: &str) -> Option<String> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let request = inspect(head.as_bytes(), &Policy::default()).expect("a request");
        let lack = Lack { reason, required: Vec::new() };
        let answer = Forbidden::default();
        explain_command(&Denial { principal: principal.clone(), lack, answer }, &request)
    }

    fn admin(id: &str) -> Principal {
        Principal::Admin { id: AdminId::new(id), session: None }
    }

    #[test]
    fn it_names_the_request_and_the_caller_and_nothing_else() {
        let table = [
            ("anna", "/a/b", "console-gate explain GET /a/b --as anna"),
            // A query may be personal, and no route depends on it.
            ("anna", "/a?token=secret", "console-gate explain GET /a --as anna"),
            ("anna", "/a$b", "console-gate explain GET '/a$b' --as anna"),
            ("anna", "/a'$(id)'", r"console-gate explain GET '/a'\''$(id)'\''' --as anna"),
            ("-x y", "/a", "console-gate explain GET /a --as='-x y'"),
        ];
        for (id, target, expected) in table {
            let shown = command(Reason::MissingRole, &admin(id), target);
            assert_eq!(shown.as_deref(), Some(expected));
        }
        assert_eq!(command(Reason::UnmappedRoute, &admin("anna"), "/a"), None);
        let machine = Principal::Machine { id: MachineTokenId::new("m") };
        assert_eq!(command(Reason::MissingRole, &machine, "/a"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// A real shell reads back what was written.
        #[test]
        fn a_shell_reads_one_word(text in r"[a-z$;&|*?~#]{1,3}|[ -~é\n\t]{0,40}") {
            let script = format!("printf %s. {}", shell_word(&text));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
            prop_assert_eq!(String::from_utf8(output.stdout).expect("UTF-8"), format!("{text}."));
        }
    }
}
