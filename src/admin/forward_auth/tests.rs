use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn a_head_is_written_from_what_the_proxy_says() {
    let nginx = headers(&[
        ("host", "console.test"),
        ("x-original-method", "POST"),
        ("x-original-uri", "/a%20b?c=d"),
        ("cookie", "session=x"),
        ("content-length", "7"),
        ("connection", "close"),
        ("x-hub-signature-256", "s"),
    ]);
    let (front, head) = asked(&nginx).unwrap();
    assert_eq!(front, Front::Nginx);
    assert_eq!(
        String::from_utf8(head).unwrap(),
        "POST /a%20b?c=d HTTP/1.1\r\nhost: console.test\r\ncookie: session=x\r\nx-hub-signature-256: s\r\n\r\n"
    );
    let traefik = headers(&[
        ("host", "gate.internal"),
        ("x-forwarded-host", "console.test"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/"),
        ("x-forwarded-for", "203.0.113.9"),
        // Where the person is, for the page that may be answered.
        ("referer", "https://console.test/list"),
        ("hx-current-url", "https://console.test/board"),
    ]);
    let (front, head) = asked(&traefik).unwrap();
    assert_eq!(front, Front::Forwarding);
    assert_eq!(
        String::from_utf8(head).unwrap(),
        "GET / HTTP/1.1\r\nhost: console.test\r\nx-forwarded-for: 203.0.113.9\r\n\
         referer: https://console.test/list\r\nhx-current-url: https://console.test/board\r\n\r\n"
    );
}

/// Whatever a client adds, it cannot choose which request is ruled on.
#[test]
fn a_request_that_is_not_one_is_refused() {
    let table: [(&[(&str, &str)], bool); 9] = [
        (&[], false),
        (&[("x-original-uri", "/")], false),
        (&[("x-original-method", "GET")], false),
        (&[("x-forwarded-uri", "/")], false),
        (&[("x-original-method", "GET"), ("x-forwarded-uri", "/")], false),
        (
            &[
                ("x-original-method", "GET"),
                ("x-original-uri", "/secrets"),
                ("x-forwarded-method", "GET"),
                ("x-forwarded-uri", "/"),
            ],
            false,
        ),
        (
            &[
                ("x-original-method", "GET"),
                ("x-original-uri", "/"),
                ("x-forwarded-method", "GET"),
                ("x-forwarded-uri", "/"),
            ],
            true,
        ),
        (&[("x-original-method", "GET"), ("x-original-uri", "/"), ("x-original-uri", "/")], false),
        (&[("x-original-method", "GET"), ("x-original-uri", "/"), ("x-forwarded-uri", "/")], false),
    ];
    for (fields, expected) in table {
        let owned: Vec<(&'static str, &'static str)> = fields.to_vec();
        assert_eq!(asked(&headers(&owned)).is_ok(), expected, "{fields:?}");
    }
}
