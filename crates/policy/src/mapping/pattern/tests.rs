use super::*;
use crate::mapping::converter::{FloatRange, IntegerRange, Length};

fn parse(text: &str) -> Pattern {
    Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refuse(text: &str) -> PatternError {
    Pattern::parse(text).err().unwrap_or_else(|| panic!("{text} was accepted"))
}

#[test]
fn a_pattern_gives_its_text_back() {
    for text in
        ["/", "/a", "/a/", "/<id>", "/<int(min=1, max=9):n>/é", "/x/<path:p>/", "/console/beta/*", "/*"]
    {
        assert_eq!(parse(text).as_str(), text);
        assert_eq!(parse(text).to_string(), text);
    }
}

#[test]
fn variables_are_in_order() {
    let pattern = parse("/<b>/x-<int:a>/<path:rest>");
    let names: Vec<_> = pattern.variables().iter().map(Variable::name).collect();
    assert_eq!(names, ["b", "a", "rest"]);
}

#[test]
fn shapes_leave_out_names_and_ranges() {
    let table = [
        ("/a/<x>", "/a/<y>", true),
        ("/a/<x>", "/a/<string:x>", true),
        ("/a/<x>", "/a/<default():x>", true),
        ("/<int:n>", "/<int(min=3):n>", true),
        ("/<int:n>", "/<int(fixed_digits=3):n>", true),
        ("/<int:n>", "/<int(signed=True):n>", false),
        ("/<string(length=2):a>", "/<string(minlength=2, maxlength=2):a>", false),
        ("/<any(a, b):k>", "/<any('a', \"b\"):j>", true),
        ("/<any(a, b):k>", "/<any(b, a):k>", false),
        ("/<any(\"a,b\"):k>", "/<any(a, b):k>", false),
        ("/<path:p>", "/<path:p>/", false),
        ("/a", "/a/", false),
        ("/a", "/a/*", false),
        ("/<a><b>", "/<a>/<b>", false),
    ];
    for (one, other, same) in table {
        assert_eq!(parse(one).shape() == parse(other).shape(), same, "{one} {other}");
    }
}

#[test]
fn arguments_reach_their_converter() {
    let int =
        |fixed_digits, min, max, signed| Converter::Int(IntegerRange { fixed_digits, min, max, signed });
    let float = |min, max, signed| Converter::Float(FloatRange { min, max, signed });
    let string = Converter::String;
    let table = [
        ("default", string(Length::Between(1, None))),
        ("string(length=2)", string(Length::Exactly(2))),
        ("string(2, 4)", string(Length::Between(2, Some(4)))),
        ("string( maxlength = 9 )", string(Length::Between(1, Some(9)))),
        ("string(minlength=3,length=2)", string(Length::Exactly(2))),
        ("int()", int(None, None, None, false)),
        ("int(4)", int(Some(4), None, None, false)),
        ("int(0, 1, 9, True)", int(None, Some(1), Some(9), true)),
        ("int(min=1,max=12,signed=False)", int(None, Some(1), Some(12), false)),
        ("float(min=1, max=2.5)", float(Some(1.0), Some(2.5), false)),
        ("float(signed=True)", float(None, None, true)),
        ("any(a, 'b c', \"d,e\")", Converter::Any(vec!["a".into(), "b c".into(), "d,e".into()])),
        ("any('x):y')", Converter::Any(vec!["x):y".into()])),
    ];
    for (written, converter) in table {
        let pattern = parse(&format!("/<{written}:v>"));
        assert_eq!(*pattern.variables()[0].converter(), converter, "{written}");
    }
}

#[test]
fn faults_are_reported_where_they_are() {
    let table = [
        ("", "", "a pattern must start with `/`"),
        ("a/b", "a", "a pattern must start with `/`"),
        ("/a//b", "//", "the firewall refuses paths with an empty segment (`//`)"),
        ("/<path:p>//", "//", "the firewall refuses paths with an empty segment (`//`)"),
        ("/a//*", "//", "the firewall refuses paths with an empty segment (`//`)"),
        ("/a/../b", "..", "the firewall refuses paths with the segment `..`"),
        ("/a/.", ".", "the firewall refuses paths with the segment `.`"),
        ("/a;b", ";", "the firewall refuses paths with the character ';'"),
        ("/a?b=1", "?", "the firewall refuses paths with the character '?'"),
        ("/é#b", "#", "the firewall refuses paths with the character '#'"),
        ("/a\\b", "\\", "the firewall refuses paths with the character '\\\\'"),
        ("/a%20b", "%", "the firewall refuses paths with the character '%'"),
        ("/a\nb", "\n", "the firewall refuses paths with the character '\\n'"),
        ("/a\u{200b}b", "\u{200b}", "the firewall refuses paths with the character '\\u{200b}'"),
        ("/٤", "٤", "the firewall refuses paths with the character '٤'"),
        ("/a/*/b", "*", "`*` is allowed only at the end, as in `/console/beta/*`"),
        ("/a*", "*", "`*` is allowed only at the end, as in `/console/beta/*`"),
        ("/a/<b>/*", "<b>", "a prefix pattern cannot contain variables"),
        ("/<>", "<>", "malformed variable"),
        ("/<a", "<a", "malformed variable"),
        ("/a>", ">", "malformed variable"),
        ("/<int:1a>", "<int:1a>", "malformed variable"),
        ("/<int :a>/b", "<int :a>", "malformed variable"),
        ("/<a>/<int:a>", "a", "the variable `a` occurs twice"),
        ("/<integer:n>", "integer", "the converter `integer` does not exist"),
        ("/<int(size=3):n>", "size=3", "the converter `int` has no argument `size`"),
        ("/<path(1):n>", "1", "the converter `path` takes at most 0 argument(s)"),
        ("/<int(1, 2, 3, True, 5):n>", "5", "the converter `int` takes at most 4 argument(s)"),
        ("/<int(1, fixed_digits=1):n>", "fixed_digits=1", "the argument `fixed_digits` is given twice"),
        ("/<int(1,2):n>", "1,", "Werkzeug reads a number, a comma and a number without a space as one value"),
        ("/<int(min=-1):n>", "-", "malformed converter argument"),
        ("/<int(min=1,):n>", "", "malformed converter argument"),
        ("/<any(a b):n>", "b", "malformed converter argument"),
        ("/<any(\"a):n>", "a", "malformed converter argument"),
        ("/<int(min=a):n>", "min=a", "the argument `min` must be a whole number of at most 64 bits"),
        ("/<int(min='1'):n>", "min='1'", "the argument `min` must be a whole number of at most 64 bits"),
        ("/<int(min=1.5):n>", "min=1.5", "the argument `min` must be a whole number of at most 64 bits"),
        ("/<int(signed=1):n>", "signed=1", "the argument `signed` must be `True` or `False`"),
        ("/<int(min=9, max=1):n>", "max=1", "the argument `max` must be at least `min`"),
        ("/<float(max=1e3):n>", "max=1e3", "the argument `max` must be a number"),
        ("/<float(max=.):n>", "max=.", "the argument `max` must be a number"),
        ("/<string(length=0):n>", "length=0", "the argument `length` must be at least 1"),
        ("/<string(minlength=0):n>", "minlength=0", "the argument `minlength` must be at least 1"),
        ("/<string(3, 2):n>", "2", "the argument `maxlength` must be at least `minlength`"),
        ("/<any:n>", "any", "`any` needs at least one item, and no item may be empty"),
        ("/<any():n>", "any", "`any` needs at least one item, and no item may be empty"),
        ("/<any(a, ''):n>", "''", "`any` needs at least one item, and no item may be empty"),
        ("/<any(a, 1):n>", "1", "`1` must be quoted for Werkzeug"),
        ("/<any(True):n>", "True", "`True` must be quoted for Werkzeug"),
        ("/<any(nan):n>", "nan", "`nan` must be quoted for Werkzeug"),
        ("/<any(k=a):n>", "k=a", "the converter `any` has no argument `k`"),
        ("/<any('a/b'):n>", "'a/b'", "the firewall refuses paths with the character '/'"),
        ("/<any('..'):n>", "'..'", "the firewall refuses paths with the segment `..`"),
        (
            "/<a><string(maxlength=4000000):b>",
            "<a><string(maxlength=4000000):b>",
            "the lengths in this part are too large",
        ),
    ];
    for (text, place, message) in table {
        let error = refuse(text);
        assert_eq!(error.to_string(), message, "{text:?}");
        assert_eq!(&text[error.span()], place, "{text:?}");
    }
}

#[test]
fn suggestions_name_what_was_meant() {
    let table = [
        ("/<integer:n>", "known are `string`, `int`, `float`, `path`, `uuid`, `any`, `default`"),
        ("/<Int:n>", "did you mean `int`?"),
        ("/<sting:n>", "did you mean `string`?"),
        ("/<int(mix=3):n>", "did you mean `min`?"),
        ("/<any(1):n>", "write `\"1\"`"),
        ("/<int(1,2):n>", "put a space after the comma"),
        ("console", "write `/console`"),
    ];
    for (text, suggestion) in table {
        assert_eq!(refuse(text).suggestion(), Some(suggestion), "{text}");
    }
    assert_eq!(refuse("/a//b").suggestion(), None);
}
