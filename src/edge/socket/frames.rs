//! Where a client is in its frames of HTTP/2: whether it has begun something that the gate has to wait for.
//!
//! The h2 crate reads frames and reports nothing before a head is complete; so a client that sends one byte of a head a
//! minute would go unnoticed. This looks at the same bytes as they pass and takes nothing from them. Bodies are
//! left out: they have a time limit of their own, by stream.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::edge::overdue::Since;

/// How HTTP/2 begins (RFC 9113 3.4); a SETTINGS frame follows.
pub(in crate::edge) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADER_BYTES: usize = 9;
// RFC 9113 6.
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

/// Since when the client owes the rest of something: its greeting, a head, or another frame that is no body.
pub(in crate::edge) type Owed = watch::Receiver<Since>;

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    walk: Walk,
    owed: watch::Sender<Since>,
}

impl Frames {
    /// A connection that has yet to greet.
    pub(super) fn new() -> (Frames, Owed) {
        let (sender, owed) = watch::channel(Some(Instant::now()));
        (Frames { walk: Walk::default(), owed: sender }, owed)
    }

    /// Takes note of bytes that the client has sent.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let paid = self.walk.advance(bytes);
        let owes = self.walk.owes();
        self.owed.send_if_modified(|since| {
            // The earlier frame is complete, so the one owed now began just now.
            let goes_on = since.is_some() && owes && !paid;
            let is_news = !goes_on && (since.is_some() || owes);
            if is_news {
                *since = owes.then(Instant::now);
            }
            is_news
        });
    }
}

/// The place in the frames.
#[derive(Debug, Default)]
struct Walk {
    /// Bytes of the preface that were seen.
    preface: usize,
    /// Whether the first SETTINGS frame was.
    greeted: bool,
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    payload_left: usize,
    /// Whether a head has begun and its last frame has not come.
    in_head: bool,
}

impl Walk {
    /// Whether something that was owed has come with these bytes.
    fn advance(&mut self, mut bytes: &[u8]) -> bool {
        let mut paid = false;
        while !bytes.is_empty() {
            if self.preface < PREFACE.len() {
                let taken = bytes.len().min(PREFACE.len() - self.preface);
                self.preface += taken;
                bytes = &bytes[taken..];
            } else if self.header_bytes < HEADER_BYTES {
                let taken = bytes.len().min(HEADER_BYTES - self.header_bytes);
                let end = self.header_bytes + taken;
                self.header[self.header_bytes..end].copy_from_slice(&bytes[..taken]);
                self.header_bytes = end;
                bytes = &bytes[taken..];
                if self.header_bytes == HEADER_BYTES {
                    let [high, middle, low, ..] = self.header;
                    self.payload_left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                    self.in_head |= self.kind() == HEADERS;
                    paid |= self.end_frame();
                }
            } else {
                let taken = bytes.len().min(self.payload_left);
                self.payload_left -= taken;
                bytes = &bytes[taken..];
                paid |= self.end_frame();
            }
        }
        paid
    }

    /// Ends the frame if it is complete, and returns whether that ends what was owed.
    fn end_frame(&mut self) -> bool {
        if self.payload_left > 0 {
            return false;
        }
        let kind = self.kind();
        if matches!(kind, HEADERS | CONTINUATION) && self.header[4] & END_HEADERS != 0 {
            self.in_head = false;
        }
        self.greeted |= kind == SETTINGS;
        self.header_bytes = 0;
        self.greeted && !self.in_head
    }

    fn kind(&self) -> u8 {
        self.header[3]
    }

    /// Whether the client has begun what it has not ended yet.
    fn owes(&self) -> bool {
        let in_frame = self.header_bytes > 0 && !(self.header_bytes == HEADER_BYTES && self.kind() == DATA);
        !self.greeted || self.in_head || in_frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// Whether something is owed after these bytes, however they are cut.
    fn owes_after(parts: &[&[u8]]) -> bool {
        let bytes = parts.concat();
        let mut whole = Walk::default();
        whole.advance(&bytes);
        let mut one_by_one = Walk::default();
        for byte in &bytes {
            one_by_one.advance(std::slice::from_ref(byte));
        }
        assert_eq!(whole.owes(), one_by_one.owes(), "{bytes:?}");
        whole.owes()
    }

    #[test]
    fn heads_and_greetings_are_owed_until_they_are_whole() {
        let settings = frame(SETTINGS, 0, b"");
        let greeting = [PREFACE, &settings].concat();
        let head = frame(HEADERS, END_HEADERS, b"fields");
        let (begun, middle) = (frame(HEADERS, 0, b"fie"), frame(CONTINUATION, 0, b"l"));
        let end = frame(CONTINUATION, END_HEADERS, b"ds");
        let body = frame(DATA, 0, b"a body");
        let table: [(&str, &[&[u8]], bool); 13] = [
            ("nothing", &[], true),
            ("half of the preface", &[&PREFACE[..10]], true),
            ("the preface", &[PREFACE], true),
            ("half of the settings", &[PREFACE, &settings[..5]], true),
            ("the greeting", &[&greeting], false),
            ("half of a frame's header", &[&greeting, &head[..4]], true),
            ("half of a head", &[&greeting, &head[..12]], true),
            ("a head", &[&greeting, &head], false),
            ("a head without its end", &[&greeting, &begun], true),
            ("... that goes on", &[&greeting, &begun, &middle], true),
            ("... and ends", &[&greeting, &begun, &middle, &end], false),
            ("half of a body", &[&greeting, &head, &body[..12]], false),
            ("a body", &[&greeting, &head, &body], false),
        ];
        for (what, parts, expected) in table {
            assert_eq!(owes_after(parts), expected, "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_owed_has_its_own_beginning() {
        let (mut frames, owed) = Frames::new();
        let began = owed.borrow().unwrap();
        let head = frame(HEADERS, END_HEADERS, b"fields");
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        frames.pass(PREFACE);
        assert_eq!(*owed.borrow(), Some(began), "the greeting is not whole");
        frames.pass(&frame(SETTINGS, 0, b""));
        assert_eq!(*owed.borrow(), None);
        frames.pass(&head[..3]);
        let first = owed.borrow().unwrap();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        frames.pass(&head[3..10]);
        assert_eq!(*owed.borrow(), Some(first), "one byte more is no new beginning");
        // The rest, and the beginning of the next.
        frames.pass(&[&head[10..], &head[..3]].concat());
        assert!(owed.borrow().unwrap() > first);
    }
}
