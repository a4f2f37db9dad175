//! Hints about Console's users and sessions in its source, for a person to confirm: read line by line.

use std::collections::BTreeSet;

use console_source::{Guards, PythonFile, read};
use policy::method::Method;
use store::console::SourceHints;

/// The words that the path of a login page ends with.
const LOGINS: [&str; 5] = ["login", "signin", "sign-in", "log-in", "log_in"];
/// Keys of Flask's session in which applications keep the session's own id.
const SESSION_IDS: [&str; 6] =
    ["sid", "session_id", "session_key", "session_token", "login_session_id", "token"];

/// Reads the source.
pub(super) fn hints(folder: &str, files: &[PythonFile]) -> SourceHints {
    let mut hints = SourceHints::default();
    let mut token_cookie = None;
    for file in files {
        hints.users.extend(users_in(&file.path, &file.text));
        for line in file.text.lines().map(|line| line.split('#').next().unwrap_or_default()) {
            let after = |word: &str| line.split_once(word).map(|(_, rest)| rest);
            // In `["SESSION_COOKIE_NAME"] = "console"`, the quote that closes the key does not open a text.
            let setting = |word| after(word).map(|rest| rest.strip_prefix(['"', '\'']).unwrap_or(rest));
            if let Some(name) = setting("SESSION_COOKIE_NAME").and_then(first_text) {
                hints.cookie_name.get_or_insert(name);
            }
            if let Some(path) = setting("LOGIN_URL").and_then(first_text).filter(|path| path.starts_with('/'))
            {
                hints.login_path.get_or_insert(path);
            }
            for (key, value) in assigned_to_session(line) {
                if SESSION_IDS.contains(&key.as_str()) {
                    hints.session_id_key.get_or_insert(key);
                } else if key.ends_with("id") && value.contains("id") {
                    hints.admin_id_key.get_or_insert(key);
                }
            }
            if line.contains("login_user(") {
                hints.admin_id_key.get_or_insert_with(|| "_user_id".to_owned());
            }
            let cookie = after("request.cookies.get(").or(after("request.cookies["));
            if let Some(name) = cookie.and_then(|rest| text_or_constant(rest, &file.text)) {
                let is_session = ["sess", "sid", "auth", "login"].iter().any(|word| name.contains(word));
                token_cookie = token_cookie.or(Some(name).filter(|_| is_session));
            }
        }
    }
    if hints.admin_id_key.is_none() && token_cookie.is_some() {
        hints.is_token = true;
        hints.cookie_name = token_cookie;
    }
    if hints.login_path.is_none() {
        hints.login_path = login_route(folder, files);
    }
    hints
}

/// The shortest path of a route that looks like a login page.
fn login_route(folder: &str, files: &[PythonFile]) -> Option<String> {
    let source = read(folder, files, &Guards::default());
    let routes = source
        .routes
        .into_iter()
        .filter(|route| route.methods.as_ref().is_ok_and(|methods| methods.contains(Method::Get)));
    let rules = routes.filter_map(|route| route.rule.ok());
    let is_login = |rule: &String| LOGINS.iter().any(|word| rule.trim_end_matches('/').ends_with(word));
    rules.filter(is_login).min_by_key(String::len)
}

/// The keys and the assigned value of `session["user_id"] = user.id`; one line may assign several keys.
fn assigned_to_session(line: &str) -> Vec<(String, &str)> {
    let Some((targets, value)) = line.split_once(" = ") else { return Vec::new() };
    let keys = targets.split("session[").skip(1).filter_map(first_text);
    keys.map(|key| (key, value)).collect()
}

/// The first quoted text after a word.
fn first_text(rest: &str) -> Option<String> {
    let begin = rest.find(['"', '\''])?;
    let quote = rest[begin..].chars().next()?;
    let (text, _) = rest[begin + 1..].split_once(quote)?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// An argument: a text, or the name of a constant in the same file.
fn text_or_constant(rest: &str, source: &str) -> Option<String> {
    if rest.starts_with(['"', '\'']) {
        let quote = rest.chars().next()?;
        return rest[1..].split_once(quote).map(|(text, _)| text.to_owned());
    }
    let name = rest.split([')', ']', ',']).next()?.trim();
    source.lines().find_map(|line| first_text(line.strip_prefix(name)?.trim_start().strip_prefix('=')?))
}

/// The tables of the source's user models, such as subclasses of `UserMixin` and `AbstractUser`.
fn users_in(path: &str, source: &str) -> BTreeSet<String> {
    let mut tables = BTreeSet::new();
    // Django also puts the application's folder into the name of a table.
    let mut folders = path.rsplit('/').skip(1).filter(|folder| *folder != "models");
    let application = folders.next().unwrap_or_default().to_lowercase();
    let mut is_user = false;
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("class ") {
            is_user =
                ["UserMixin", "AbstractUser", "AbstractBaseUser"].iter().any(|base| rest.contains(base));
            if let Some(name) = rest.split(['(', ':']).next().filter(|_| is_user).map(str::to_lowercase) {
                tables.extend([format!("{application}_{name}"), name]);
            }
        } else if is_user
            && ["__tablename__", "db_table"].iter().any(|key| line.trim_start().starts_with(key))
        {
            tables.extend(line.split(['"', '\'']).nth(1).map(str::to_lowercase));
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints_of(files: &[(&str, &str)]) -> SourceHints {
        let file = |(path, text): &(&str, &str)| PythonFile {
            path: (*path).to_owned(),
            name: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        hints("/srv/app", &files.iter().map(file).collect::<Vec<_>>())
    }

    #[test]
    fn the_model_of_users_is_found_in_the_source() {
        let flask = "class Base:\n    pass\n\nclass Person(UserMixin, db.Model):\n    __tablename__ = \"persons\"\n    id = 1\n\n\
                      class Other(db.Model):\n    __tablename__ = 'others'\n";
        let django = "class User(AbstractUser):\n    class Meta:\n        ordering = ['id']\n";
        let users = hints_of(&[("app/models.py", flask), ("shop/models/user.py", django)]).users;
        assert_eq!(
            users.into_iter().collect::<Vec<_>>(),
            ["app_person", "person", "persons", "shop_user", "user"]
        );
    }

    #[test]
    fn sessions_are_found_in_the_source() {
        let login = "@bp.route('/login', methods=['GET', 'POST'])\ndef login():\n    ";
        let head = "bp = Blueprint('auth', __name__, url_prefix='/auth')\n";
        let view = |line: &str| format!("{head}{login}{line}\n");
        // The source; the cookie's name, the keys of the admin and of the session, whether the cookie is a token.
        type Found = (Option<&'static str>, Option<&'static str>, Option<&'static str>, bool);
        let table: [(String, Found); 7] = [
            (view("session['staff_id'] = person.id"), (None, Some("staff_id"), None, false)),
            (
                view("session[\"user_id\"], session[\"sid\"] = user.id, token"),
                (None, Some("user_id"), Some("sid"), false),
            ),
            (view("session['csrf'] = token\n    login_user(user)"), (None, Some("_user_id"), None, false)),
            (view("app.config['SESSION_COOKIE_NAME'] = 'console'"), (Some("console"), None, None, false)),
            (
                view("app.config.update(SESSION_COOKIE_NAME=\"console\")"),
                (Some("console"), None, None, false),
            ),
            (view("token = request.cookies.get(\"app_session\")"), (Some("app_session"), None, None, true)),
            (
                format!("COOKIE = 'app_sid'\n{}", view("token = request.cookies.get(COOKIE)")),
                (Some("app_sid"), None, None, true),
            ),
        ];
        for (text, expected) in table {
            let hints = hints_of(&[("app.py", &text)]);
            let found = (
                hints.cookie_name.as_deref(),
                hints.admin_id_key.as_deref(),
                hints.session_id_key.as_deref(),
                hints.is_token,
            );
            assert_eq!(found, expected, "{text}");
            assert_eq!(hints.login_path.as_deref(), Some("/auth/login"), "{text}");
        }
        let django =
            hints_of(&[("site/settings.py", "SESSION_COOKIE_NAME = 'shop'\nLOGIN_URL = '/enter/'\n")]);
        assert_eq!(
            (django.cookie_name.as_deref(), django.login_path.as_deref()),
            (Some("shop"), Some("/enter/"))
        );
    }
}
