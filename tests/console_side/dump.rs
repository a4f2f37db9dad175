//! `deploy/flask/dump_routes.py`: which apps it finds, and what it says where it finds none.

use std::path::{Path, PathBuf};

use crate::support::{Ran, project_file, python_in};

const APP: &str = r#"
import types
from flask import Flask

print("this app talks while it is loaded")

app = Flask("plain", static_folder=None)
app.add_url_rule("/plain", "plain", lambda: "")


def create_app(name="made", prefix="/made"):
    made = Flask(name, static_folder=None)
    made.add_url_rule(prefix, "made", lambda: "")
    return made


def needs(name, *, prefix):
    return create_app(name, prefix)


def fails():
    raise RuntimeError("no database")


class Maker:
    app = app
    make = staticmethod(create_app)


class Layer:
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, environ, start_response):
        return self.inner(environ, start_response)


layered = Layer(app.wsgi_app)
holder = types.SimpleNamespace(inner=types.SimpleNamespace(app=app))
number = 5


def plain_wsgi(environ, start_response):
    return []
"#;

/// A folder with a package, and a module whose import fails.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("package")).unwrap();
    write("package/__init__.py", "");
    write("package/main.py", APP);
    write("package/only_factory.py", "from .main import create_app\n");
    write("package/other_name.py", "from .main import app as console\n");
    write("package/nothing.py", "");
    write("package/breaks.py", "import no_such_library\n");
    folder
}

fn script() -> PathBuf {
    project_file("deploy/flask/dump_routes.py")
}

fn dump(folder: &Path, arguments: &[&str]) -> Ran {
    let script = script();
    python_in(folder, &[&[script.to_str().unwrap()], arguments].concat())
}

fn rules(json: &str) -> Vec<String> {
    let document: serde_json::Value =
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let rules = document["rules"].as_array().unwrap();
    rules.iter().map(|rule| rule["rule"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_app_is_named_as_gunicorn_and_flask_name_it() {
    let folder = folder();
    let cases = [
        ("package.main", "/plain"),
        ("package.main:app", "/plain"),
        ("package.main:create_app", "/made"),
        ("package.main:create_app()", "/made"),
        ("package.main:create_app('x', prefix='/given')", "/given"),
        ("package.main:needs(\"x\", prefix=\"/needed\")", "/needed"),
        ("package.main:holder.inner.app", "/plain"),
        ("package.main:Maker.app", "/plain"),
        ("package.main:Maker.make(prefix='/attribute')", "/attribute"),
        ("package.main:layered", "/plain"),
        ("package.main:app.wsgi_app", "/plain"),
        ("package.only_factory", "/made"),
        ("package.other_name", "/plain"),
        ("package/main.py", "/plain"),
        ("package/main.py:create_app", "/made"),
    ];
    for (name, expected) in cases {
        let ran = dump(folder.path(), &[name]);
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        assert_eq!(rules(&ran.stdout), [expected], "{name}");
    }
}

/// What an app prints is no JSON, and a file is written whole.
#[test]
fn the_output_is_json_alone() {
    let folder = folder();
    let ran = dump(folder.path(), &["package.main:app", "--output", "routes.json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert!(ran.stderr.contains("this app talks"), "{}", ran.stderr);
    assert_eq!(rules(&std::fs::read_to_string(folder.path().join("routes.json")).unwrap()), ["/plain"]);
}

/// The gate sees the path that the server strips off.
#[test]
fn an_app_below_a_path_is_listed_below_it() {
    let folder = folder();
    let ran = dump(folder.path(), &["package.main:app", "--mount", "/console/"]);
    assert_eq!(rules(&ran.stdout), ["/console/plain"]);
    std::fs::write(
        folder.path().join("rooted.py"),
        "from package.main import app\napp.config['APPLICATION_ROOT'] = '/console'\n",
    )
    .unwrap();
    let ran = dump(folder.path(), &["rooted"]);
    assert_eq!(rules(&ran.stdout), ["/plain"]);
    assert!(ran.stdout.contains("list it with `--mount /console`"), "{}", ran.stdout);
}

#[test]
fn what_is_wrong_is_reported_with_what_to_do() {
    let folder = folder();
    let cases = [
        (&[][..], "set FLASK_APP"),
        (&["no_such_module"], "run this in the folder in which the app is started"),
        (&["package.no_such_module:app"], "there is no module `package.no_such_module`"),
        (&["package/no_such_file.py"], "there is no file `package/no_such_file.py`"),
        (&["package.breaks"], "load the app by hand"),
        (&["package.nothing"], "write `package.nothing:NAME`"),
        (&["package.main:no_such_name"], "`package.main` has no `no_such_name`: correct the name"),
        (&["package.main:needs"], "write them, as in `module:create_app(\"production\")`"),
        (&["package.main:needs('x')"], "its signature is (name, *, prefix)"),
        (&["package.main:fails"], "calling `package.main:fails` fails"),
        (&["package.main:create_app(name)"], "literal arguments"),
        (&["package.main:create_app("], "literal arguments"),
        (&["package.main:app()"], "`app()` cannot be called: name the app itself, without brackets"),
        (&["package.main:number"], "is no application but of type `int`"),
        (&["package.main:plain_wsgi"], "no Flask app is seen in `plain_wsgi`"),
        (&["package.main", "--output", "no/such/folder"], "No such file or directory"),
    ];
    for (arguments, expected) in cases {
        let ran = dump(folder.path(), arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {}", ran.stderr);
        let last = ran.stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("dump_routes: ") && last.contains(expected),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
}
