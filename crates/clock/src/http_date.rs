//! Dates as HTTP writes them.

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// An IMF-fixdate (RFC 9110 section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(time: DateTime<Utc>) -> String {
    // By hand: each answer of the gate's own has one, and chrono's formatter reads its pattern each time.
    let mut text = String::with_capacity(29);
    text.push_str(DAYS[time.weekday().num_days_from_monday() as usize]);
    text.push_str(", ");
    push_digits(time.day(), 2, &mut text);
    text.push(' ');
    text.push_str(MONTHS[time.month0() as usize]);
    text.push(' ');
    push_digits(time.year().unsigned_abs(), 4, &mut text);
    for (separator, part) in [(' ', time.hour()), (':', time.minute()), (':', time.second())] {
        text.push(separator);
        push_digits(part, 2, &mut text);
    }
    text.push_str(" GMT");
    text
}

fn push_digits(number: u32, width: u32, text: &mut String) {
    for place in (0..width).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        text.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    /// RFC 9110's own example, and every hour of 500 days against chrono's formatter.
    #[test]
    fn a_date_is_an_imf_fixdate() {
        assert_eq!(http_date("1994-11-06T08:49:37Z".parse().unwrap()), "Sun, 06 Nov 1994 08:49:37 GMT");
        let start: DateTime<Utc> = "2023-12-30T22:58:01.999999Z".parse().unwrap();
        for hours in 0..500 * 24 {
            let time = start + TimeDelta::seconds(hours * 3_607);
            assert_eq!(http_date(time), time.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        }
        for year in ["0001", "0999", "9999"] {
            let time: DateTime<Utc> = format!("{year}-02-28T23:59:59Z").parse().unwrap();
            assert_eq!(http_date(time), time.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        }
    }
}
