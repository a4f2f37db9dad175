//! Python in, facts out; and whatever the text, no panic.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn read_files(files: &[(&str, &str)]) -> ConsoleSource {
    read_guarded(files, &[])
}

fn read_guarded(files: &[(&str, &str)], guards: &[(&str, Meaning)]) -> ConsoleSource {
    let guards = Guards::default().and(guards.iter().map(|(name, meaning)| ((*name).to_owned(), *meaning)));
    let file = |(path, text): &(&str, &str)| PythonFile {
        path: (*path).to_owned(),
        name: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    read("/srv/console", &files.iter().map(file).collect::<Vec<_>>(), &guards)
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
        // Flask registers the view before it applies the decorators above the route.
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
        // `roles` by itself is another module: `app` is a package.
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
fn a_prefix_at_the_registration_replaces_the_blueprints_own() {
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
            "from flask import Flask, Blueprint\nfrom views import bp\napp = Flask('app', static_folder=None)\n{registration}\n"
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

/// `rule gate` of each route of a file, with `+` for each thing that may gate it besides.
fn gates(text: &str) -> Vec<String> {
    let source = read_files(&[("views.py", &format!("{VIEW}{text}\n"))]);
    let gate = |route: &Route| match &route.gate {
        Gate::None => "none".to_owned(),
        Gate::AnyOf(roles) => roles.iter().cloned().collect::<Vec<_>>().join("|"),
        Gate::UnreadableSite(_) | Gate::Unreadable(_) => "unreadable".to_owned(),
    };
    let line = |route: &Route| {
        let rule = route.rule.as_deref().unwrap_or("?");
        format!("{rule} {}{}", gate(route), "+".repeat(route.may_gate.len()))
    };
    source.routes.iter().map(line).collect()
}

#[test]
fn a_route_is_read_however_it_is_declared() {
    let view = "def v(): pass\n";
    let cases = [
        ("bp.get('/x')(v)", &["/b/x none"][..]),
        ("bp.route('/x', methods=['POST'])(require_role('a')(v))", &["/b/x a"]),
        ("bp.get('/x')(lambda: '')", &["/b/x none"]),
        ("r = bp.get('/x')\nr(v)", &["/b/x none"]),
        ("r = bp.get('/x')\n@r\n@require_role('a')\ndef w(): pass", &["/b/x a"]),
        ("get = bp.get\n@get('/x')\ndef w(): pass", &["/b/x none"]),
        (
            "from functools import partial\np = partial(bp.route, methods=['PUT'])\n@p('/x')\ndef w(): pass",
            &["/b/x none"],
        ),
        (
            "import functools\nbp.add_url_rule('/x', view_func=functools.partial(require_role('a')(v), 1))",
            &["/b/x a"],
        ),
        (
            "from functools import partial\nops = partial(require_role, 'a')\n@bp.get('/x')\n@ops('b')\ndef w(): pass",
            &["/b/x a|b"],
        ),
        ("add = bp.add_url_rule\nadd('/x', 'x', v)", &["/b/x none"]),
        // What it is applied to is not seen, and it is a route all the same.
        ("def deco(rule):\n    return bp.route(rule)", &["? unreadable"]),
        ("routes = [bp.route('/x')]", &["/b/x unreadable"]),
        ("bp.get('/x')(*views)", &["/b/x unreadable"]),
        // A decorator on a class is an extension's.
        (
            "@bp.route('/x')\nclass V(MethodView):\n    def get(self): pass\n    def post(self): pass",
            &["/b/x unreadable", "/b/x unreadable"],
        ),
        (
            "class V(MethodView):\n    def get(self): pass\n    if X:\n        def post(self): pass\nbp.add_url_rule('/x', view_func=V.as_view('x'))",
            &["/b/x none", "/b/x unreadable"],
        ),
        (
            "s = Blueprint('s', 's', static_folder='a/files', url_prefix='/s')",
            &["/s/files/<path:filename> none"],
        ),
        (
            "from flask import Flask\nw = Flask('w', static_url_path='/assets')",
            &["/assets/<path:filename> none"],
        ),
        ("from flask import Flask\nw = Flask('w', static_folder=None)", &[]),
        // No route at all.
        ("cache.get('key')(v)\nclient.get('/x')\napp.get('/x')", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(gates(&format!("{view}{text}")), expected, "{text}");
    }
}

#[test]
fn a_hook_before_a_route_gates_it_or_is_reported() {
    let route = "@bp.get('/x')\n@require_role('a', 'b')\ndef v(): pass\n";
    let cases = [
        ("@bp.before_request\n@require_role('a')\ndef g(): pass", "/b/x a"),
        ("@bp.before_request\n@require_role('a')\ndef g():\n    return None", "/b/x a"),
        ("@require_role('a')\ndef g(): pass\nbp.before_request(g)", "/b/x a"),
        ("bp.before_request(require_role('a')(lambda: None))", "/b/x a"),
        ("before = bp.before_request\n@before\n@require_role('a')\ndef g(): pass", "/b/x a"),
        ("@app.before_request\n@require_role('a')\ndef g(): pass", "/b/x a"),
        ("o = Blueprint('o', 'o')\n@o.before_app_request\n@require_role('a')\ndef g(): pass", "/b/x a"),
        // Of another blueprint, and above the hook.
        ("o = Blueprint('o', 'o')\n@o.before_request\n@require_role('a')\ndef g(): pass", "/b/x a|b"),
        ("@require_role('a')\n@bp.before_request\ndef g(): pass", "/b/x a|b"),
        // It may refuse, and how is not understood.
        ("@bp.before_request\ndef g():\n    abort(403)", "/b/x a|b+"),
        ("@bp.before_request\ndef g():\n    if no():\n        return 'no'", "/b/x a|b+"),
        ("@bp.before_request\ndef g():\n    raise Forbidden()", "/b/x a|b+"),
        ("@bp.before_request\ndef g():\n    h()\ndef h():\n    raise Forbidden()", "/b/x a|b+"),
        ("@bp.before_request\ndef g():\n    current_user.require('a')", "/b/x a|b+"),
        ("@bp.before_request\n@require_role('a')\ndef g():\n    return 'no'", "/b/x a|b+"),
        ("@bp.before_request\n@other\n@require_role('a')\ndef g(): pass", "/b/x a|b+"),
        ("bp.before_request(require_role('a'))", "/b/x a|b+"),
        ("bp.before_request(lambda: check())", "/b/x a|b+"),
        ("from other import guard\nbp.before_request(guard)", "/b/x a|b+"),
        ("import functools\nbp.before_request(functools.partial(g, 1))", "/b/x a|b+"),
        ("if STRICT:\n    @bp.before_request\n    @require_role('a')\n    def g(): pass", "/b/x a|b+"),
        ("for b in (bp,):\n    bp.before_request(require_role('a')(lambda: None))", "/b/x a|b+"),
        ("@app.url_value_preprocessor\ndef g(endpoint, values):\n    abort(404)", "/b/x a|b+"),
        // It refuses no request.
        ("@bp.before_request\ndef g():\n    h()\ndef h():\n    return 1", "/b/x a|b"),
    ];
    for (text, expected) in cases {
        assert_eq!(gates(&format!("{route}{text}")), [expected], "{text}");
    }
    let plain = format!("{VIEW}@bp.before_request\ndef g(): pass\n");
    assert_eq!(read_files(&[("views.py", &plain)]).plain_hooks.len(), 1);
    assert_eq!(
        gates("@bp.get('/x', roles=['a'])\ndef v(): pass"),
        ["/b/x none+"],
        "an option of an extension"
    );
}

/// What changes routes or gates in the source and is not read is reported.
#[test]
fn nothing_that_is_not_read_is_silent() {
    let cases = [
        "app.view_functions['x'] = guard(app.view_functions['x'])",
        "app.before_request_funcs.setdefault(None, []).append(guard)",
        "def f(other):\n    other.before_request(guard)",
        "app.wsgi_app = Guard(app.wsgi_app)",
        "app.wsgi_app = ProxyFix(Guard(app.wsgi_app))",
        "app.url_map.add(Rule('/x', endpoint='x'))",
        "app.url_map.converters['int'] = Hex",
        "app.url_map.converters[name] = Hex",
        "app.url_map.converters.update(all)",
        "app.url_map.host_matching = True",
        "app.url_map = Map()",
        "app.url_rule_class = Own",
        "class Own(Flask):\n    url_rule_class = Rule",
        "class Own(Flask):\n    def dispatch_request(self): pass",
        "class Own(Blueprint):\n    def route(self, rule): pass",
        "api.add_resource(Users, '/users')",
        "register(bp.route)",
        "for declare in (bp.get,): pass",
        "map(bp.before_request, guards)",
        "getattr(bp, 'get')('/x')(v)",
        "declare = bp.get\ndeclare = other",
        "application = DispatcherMiddleware(app, {'/api': api})",
        "one = Flask('one', static_folder=None)\nother = Flask('other', static_folder=None)",
    ];
    for text in cases {
        let source = read_files(&[("views.py", &format!("{VIEW}{text}\n"))]);
        assert_eq!(source.troubles.len(), 1, "{text}: {:?}", source.troubles);
    }
    let silent = [
        "app.wsgi_app = ProxyFix(app.wsgi_app)",
        "app.wsgi_app = ConsoleGateMiddleware.from_environment(ProxyFix(app.wsgi_app))",
        "app.url_map.converters['slug'] = Slug",
        "for rule in app.url_map.iter_rules(): print(rule)",
        "app.url_map.strict_slashes = False",
        "class Own(Flask):\n    json_provider_class = Json",
        "get = bp.get",
    ];
    for text in silent {
        let source = read_files(&[("views.py", &format!("{VIEW}{text}\n"))]);
        assert!(source.troubles.is_empty(), "{text}: {:?}", source.troubles);
    }
}

#[test]
fn options_of_rules_are_read() {
    let route = |text: &str| {
        let mut source = read_files(&[("views.py", &format!("{VIEW}{text}\n"))]);
        assert_eq!(source.routes.len(), 1, "{text}");
        source.routes.remove(0)
    };
    let of = |arguments: &str| route(&format!("@bp.get('/x', {arguments})\ndef v(): pass")).options;
    let plain = RuleOptions::default();
    assert_eq!(of(""), plain);
    assert_eq!(of("strict_slashes=False").strict_slashes, Some(false));
    assert_eq!(of("strict_slashes=STRICT").strict_slashes, None);
    assert_eq!(of("subdomain='api'").host.as_deref(), Some("api"));
    assert_eq!(of("host='api.test'").host.as_deref(), Some("api.test"));
    assert!(of("subdomain=SUB").host.is_some());
    assert!(
        of("websocket=True").websocket
            && of("build_only=True").build_only
            && !of("merge_slashes=False").merge_slashes
    );
    assert_eq!(of("redirect_to='/y'").redirects.as_deref(), Some("to `/y`"));
    assert!(of("redirect_to=other").redirects.is_some() && of("alias=True").redirects.is_some());
    assert!(
        route("@bp.get('/x', websocket=WS)\ndef v(): pass").rule.is_err(),
        "where it is served is not known"
    );
    for sets in [
        "app.url_map.strict_slashes = False",
        "m = app.url_map\nm.strict_slashes = False",
        "setattr(m, 'strict_slashes', False)",
    ] {
        let loose = route(&format!("{sets}\n@bp.get('/x')\ndef v(): pass"));
        assert_eq!(loose.options.strict_slashes, None, "{sets}");
    }
    let api =
        "o = Blueprint('o', 'o', subdomain='api')\n@o.get('/x')\ndef v(): pass\napp.register_blueprint(o";
    assert_eq!(route(&format!("{api})")).options.host.as_deref(), Some("api"));
    assert_eq!(route(&format!("{api}, subdomain='www')")).options.host.as_deref(), Some("www"));
    let nested = "i = Blueprint('i', 'i', subdomain='in')\n@i.get('/x')\ndef v(): pass\no = Blueprint('o', 'o', subdomain='out')\no.register_blueprint(i)\napp.register_blueprint(o)";
    assert_eq!(route(nested).options.host.as_deref(), Some("in.out"));
}

/// The decorator takes roles in every usual way and under any name; one that is read otherwise lets no caller in by mistake.
#[test]
fn the_roles_of_a_gate_are_read_however_they_are_passed() {
    let splat = "def require_role(*roles): pass\n";
    let typed = "def require_role(*roles: str): pass\n";
    let list = "def require_role(roles, message=None): pass\n";
    let table = [
        ("", "require_role('Ops')", "Ops"),
        ("", "require_role('billing:read', 'viewer')", "billing:read|viewer"),
        ("", "require_role(['a', 'b'])", "a|b"),
        ("", "require_role(('a', 'b'))", "a|b"),
        ("", "require_role({'a', 'b'})", "a|b"),
        ("", "require_role('a', ['b', 'c'])", "a|b|c"),
        ("", "require_role(roles=['a', 'b'])", "a|b"),
        ("", "require_role(role='a')", "a"),
        ("", "require_role(any_of=('a', 'b'))", "a|b"),
        ("", "auth.require_role('a')", "a"),
        (list, "require_role(['a', 'b'])", "a|b"),
        (splat, "require_role('a', 'b')", "a|b"),
        (splat, "require_role(*['a', 'b'])", "a|b"),
        // No role is equal to a list.
        (splat, "require_role(['a', 'b'])", "unreadable"),
        (typed, "require_role(['a', 'b'])", "unreadable"),
        // Arguments besides the roles may mean that one role is not enough.
        ("", "require_role('a', 'b', all=True)", "unreadable"),
        ("", "require_role(all_of=['a', 'b'])", "unreadable"),
        ("", "require_role('a', **options)", "unreadable"),
        ("", "require_role([['a']])", "unreadable"),
        ("", "require_role([])", "unreadable"),
        ("", "require_role('a', None)", "unreadable"),
        ("", "require_role(find())", "unreadable"),
    ];
    for (definition, decorator, expected) in table {
        let text = format!("{VIEW}{definition}@bp.get('/x')\n@{decorator}\ndef v(): pass\n");
        assert_eq!(
            routes(&[("views.py", &text)]),
            [format!("GET /b/x {expected}")],
            "{definition}{decorator}"
        );
    }
}

#[test]
fn the_decorator_may_have_another_name_or_several() {
    let text = format!(
        "{VIEW}@bp.get('/x')\n@roles_required('Billing', 'viewer')\ndef v(): pass\n\
         @bp.get('/y')\n@require_role('a')\ndef w(): pass\n"
    );
    let gates = |guards: &[(&str, Meaning)]| -> Vec<Gate> {
        read_guarded(&[("views.py", &text)], guards).routes.into_iter().map(|route| route.gate).collect()
    };
    let any_of = |names: &[&str]| Gate::AnyOf(names.iter().map(ToString::to_string).collect());
    assert_eq!(gates(&[]), [Gate::None, any_of(&["a"])]);
    // Another name is added to the usual one, and a name that means something else now means nothing more.
    assert_eq!(gates(&[("roles_required", Meaning::Role)]), [any_of(&["Billing", "viewer"]), any_of(&["a"])]);
    assert_eq!(gates(&[("require_role", Meaning::Session)]), [Gate::None, Gate::None]);
}

/// A decorator's rows ask for what the operator declared for it.
#[test]
fn guards_of_consoles_own_become_rows() {
    let of = |decorators: &str| {
        let text = format!(
            "{VIEW}def refuse():\n    if request.path.startswith('/b/api/'):\n        return 'no', 401\n    return redirect('/login')\n\
             @bp.get('/x')\n{decorators}\ndef v(): pass\n@bp.get('/api/x')\n{decorators}\ndef w(): pass\n"
        );
        let guards = [
            ("api_or_session", Meaning::MachineOrSession),
            ("login_required", Meaning::Session),
            ("token_required", Meaning::Machine),
        ];
        let import = import::import(&read_guarded(&[("views.py", &text)], &guards));
        let rows = import.text.lines().filter(|line| line.starts_with("\"GET "));
        let row = |line: &str| line.split_once(" = { ").map(|(_, row)| row.trim_end_matches(" }").to_owned());
        rows.filter_map(row).collect::<Vec<_>>()
    };
    let legacy = "legacy = [\"ops\"], undecided = \"no V2 role chosen yet\"";
    assert_eq!(
        of("@require_role('ops')"),
        [legacy.to_owned(), format!("{legacy}, unauthenticated = \"401\"")]
    );
    let machine = format!("{legacy}, machine_or_session = true, unauthenticated = \"401\"");
    assert_eq!(of("@api_or_session('ops')"), [machine.clone(), machine]);
    assert_eq!(of("@login_required"), ["session = true", "session = true, unauthenticated = \"401\""]);
    assert_eq!(of("@token_required"), ["machine = true", "machine = true"]);
    // Beside a decorator that is not understood, Console decides.
    for decorators in ["@login_required\n@other", "@login_required\n@token_required", "@api_or_session()"] {
        let rows = of(decorators);
        assert!(rows.iter().all(|row| row.starts_with("upstream = true")), "{decorators}: {rows:?}");
    }
}

/// Whatever the words, every gate that is read becomes a row; a row left to Console notes where and why.
#[test]
fn an_import_has_a_row_for_every_gate() {
    let text = format!(
        "{VIEW}@bp.get('/x')\n@require_role('Billing-Lead')\ndef v(): pass\n\
         @bp.get('/y')\n@require_role('two words')\ndef w(): pass\n@bp.get('/z')\ndef open_(): pass\n"
    );
    let imported = import::import(&read_files(&[("views.py", &text)]));
    let mapping =
        policy::mapping::Mapping::parse("t", &imported.text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((imported.rows, imported.gated), (3, 1));
    assert!(imported.text.contains("\nlegacy_roles = [\"Billing-Lead\"]\n"), "{}", imported.text);
    let unreviewed: Vec<Option<&str>> = mapping.rows().iter().map(|row| row.unreviewed.as_deref()).collect();
    let words = "views.py:6 w: `two words` cannot be a legacy role: a role is 1 to 64 characters without white space, \
                 commas and quotes";
    assert_eq!(unreviewed, [None, Some(words), Some("views.py:9 open_: no @require_role")]);
    let warned = mapping.review(None).into_iter().filter(|remark| remark.code == "unreviewed-row").count();
    assert_eq!(warned, 2);
}

/// The package's line under a decorator leaves it the decorator that it was, and what it does within is no use of it.
#[test]
fn a_deferred_decorator_is_the_decorator() {
    let auth = "def require_role(*roles):\n    def decorate(view): return view\n    return decorate\n\
                def machine_auth_or_session(*roles):\n    with_session = require_role(*roles)\n    return with_session\n\
                if USE_GATE:\n    require_role = gate.defer(require_role)\n    \
                machine_auth_or_session = defer(machine_auth_or_session)\n";
    let view =
        format!("{VIEW}from auth import require_role\n@bp.get('/x')\n@require_role('ops')\ndef v(): pass");
    let source = read_files(&[("auth.py", auth), ("view.py", &view)]);
    assert_eq!(source.sites.len(), 1, "{:?}", source.sites);
    assert_eq!(routes(&[("auth.py", auth), ("view.py", &view)]), ["GET /b/x ops"]);
    // Under another name its uses are not followed, and neither is what another function makes of it.
    for line in [
        "gated = defer(require_role)",
        "require_role = wrapped(require_role)",
        "x.require_role = defer(require_role)",
    ] {
        let source = read_files(&[("auth.py", line)]);
        assert!(source.sites.iter().any(|site| site.roles.is_err()), "{line}");
    }
}

/// `@machine_auth_or_session("a")` asks people for a role; without one, for a login alone.
#[test]
fn roles_for_people_beside_programs_are_a_legacy_gate() {
    let of = |decorator: &str| {
        let text = format!("{VIEW}@bp.get('/x')\n{decorator}\ndef v(): pass");
        let source = read_files(&[("view.py", &text)]);
        let route = source.routes.first().expect("a route");
        (route.gate.clone(), route.machine_or_session)
    };
    let roles = |names: &[&str]| Gate::AnyOf(names.iter().map(ToString::to_string).collect());
    assert_eq!(of("@machine_auth_or_session('a', 'b')"), (roles(&["a", "b"]), true));
    assert_eq!(of("@auth.machine_auth_or_session(role='a')"), (roles(&["a"]), true));
    assert_eq!(of("@machine_auth_or_session()"), (Gate::None, true));
    assert_eq!(of("@machine_auth_or_session"), (Gate::None, true));
    assert_eq!(of("@machine_auth_or_session()\n@require_role('a')"), (roles(&["a"]), true));
    assert!(matches!(of("@machine_auth_or_session(*ROLES)"), (Gate::UnreadableSite(_), true)));
}

/// What a wrapper does at a request, and what of it is more than refusing. The same table is that of the package's tests.
#[test]
fn a_deferred_decorator_that_does_more_than_refuse() {
    let cases = [
        ("return view(*a, **k)", ""),
        ("if not may():\n  return no()\nreturn view(*a, **k)", ""),
        ("if not may():\n  audit.record('x')\n  g.x = 1\n  abort(403)\nreturn view(*a, **k)", ""),
        ("if may():\n  return view(*a, **k)\naudit.record('x')\nreturn no()", ""),
        ("if may():\n  g.x = 1\n  return view(*a, **k)\nreturn no()", "assigns `g.x`"),
        ("g.admin = current()\nlog.info('in')\nreturn ensure_sync(view)(*a, **k)", ""),
        ("answer = view(*a, **k)\nreturn answer", ""),
        ("g.token = 1\nreturn view(*a, **k)", "assigns `g.token`"),
        ("g['token'] = 1\nreturn view(*a, **k)", "assigns `g['token']`"),
        ("user.count += 1\nreturn view(*a, **k)", "assigns `user.count`"),
        ("csrf.protect()\nreturn view(*a, **k)", "calls `csrf.protect()`"),
        (
            "try:\n  csrf.protect()\nexcept Bad:\n  return no()\nreturn view(*a, **k)",
            "calls `csrf.protect()`",
        ),
        ("with transaction():\n  return view(*a, **k)", "runs within `transaction()`"),
        ("return jsonify(view(*a, **k))", "changes the answer: `jsonify(view(*a, **k))`"),
        ("answer = view(*a, **k)\nanswer.headers['X'] = '1'\nreturn answer", "assigns `answer.headers['X']`"),
        ("return view(current(), *a, **k)", "hands the view `current()`"),
        (
            "if not db.execute('UPDATE t SET x = 1'):\n  return no()\nreturn view(*a, **k)",
            "writes, by `db.execute('UPDATE t SET x = 1')`",
        ),
        ("g.machine = through(token)\nreturn view(*a, **k)", "writes, by `through(token)`"),
    ];
    let head = "from console_gate.flask import defer\ndef save(thing):\n    thing.commit()\ndef through(thing):\n    \
                return save(thing)\n";
    for (body, expected) in cases {
        let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
        let decorator = format!(
            "def guard(view):\n    @functools.wraps(view)\n    def guarded(*a, **k):\n{body}    return guarded\n"
        );
        for (deferred, is_said) in [
            ("{}guard = defer(guard)\n", false),
            ("@defer\n{}", false),
            ("{}guard = defer(guard, keep=(protect,))\n", true),
            ("{}guard = defer(guard, own_code=True)\n", true),
            ("{}", true),
        ] {
            let text = format!("{head}{}", deferred.replace("{}", &decorator));
            let source = read_files(&[("auth.py", &text)]);
            let found: Vec<String> =
                source.deferred.into_iter().flat_map(|deferred| deferred.effects).collect();
            assert_eq!(found.join("; "), if is_said { "" } else { expected }, "{text}");
        }
    }
}
