//! The spool on a real disk: whole, torn, altered, full, orphaned.

use std::fs;

use super::*;

const LIMIT: u64 = 10_000;

fn lines(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!(r#"{{"number":{number},"path":"/ä"}}"#)).collect()
}

fn whole(numbers: std::ops::Range<u32>) -> Vec<Line> {
    lines(numbers).into_iter().map(Line::Whole).collect()
}

/// A process that died: its file is there, and not locked.
fn left_behind(folder: &Path, numbers: std::ops::Range<u32>) -> PathBuf {
    let mut spool = Spool::create(folder, "dead", LIMIT).unwrap();
    spool.append(&lines(numbers)).unwrap();
    spool.path().to_owned()
}

fn only_orphan(folder: &Path) -> Spool {
    let Scan { mut orphans, unreadable } = Spool::orphans(folder, LIMIT).unwrap();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    assert_eq!(orphans.len(), 1);
    orphans.remove(0)
}

#[test]
fn what_is_appended_is_read_in_order_and_settled_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::create(folder.path(), "one", LIMIT).unwrap();
    spool.append(&lines(0..3)).unwrap();
    spool.append(&lines(3..5)).unwrap();
    let (first, mark) = spool.oldest(2).unwrap();
    assert_eq!(first, whole(0..2));
    spool.settle(mark).unwrap();
    spool.append(&lines(5..6)).unwrap();
    let (rest, mark) = spool.oldest(100).unwrap();
    assert_eq!(rest, whole(2..6));
    spool.settle(mark).unwrap();
    assert!(spool.is_settled());
    assert_eq!(fs::metadata(spool.path()).unwrap().len(), 0, "settled rows take no room");
    spool.append(&lines(6..7)).unwrap();
    assert_eq!(spool.oldest(100).unwrap().0, whole(6..7));
}

#[test]
fn a_file_is_taken_over_from_the_dead_and_not_from_the_living() {
    let folder = tempfile::tempdir().unwrap();
    left_behind(folder.path(), 0..4);
    let _living = Spool::create(folder.path(), "living", LIMIT).unwrap();
    let mut orphan = only_orphan(folder.path());
    assert!(Spool::orphans(folder.path(), LIMIT).unwrap().orphans.is_empty(), "taken over once");
    let (read, mark) = orphan.oldest(100).unwrap();
    assert_eq!(read, whole(0..4));
    orphan.settle(mark).unwrap();
    let path = orphan.path().to_owned();
    orphan.close().unwrap();
    assert!(!path.exists());
}

#[test]
fn what_is_not_settled_stays_for_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::create(folder.path(), "one", LIMIT).unwrap();
    spool.append(&lines(0..2)).unwrap();
    spool.close().unwrap();
    drop(spool);
    assert_eq!(only_orphan(folder.path()).oldest(9).unwrap().0, whole(0..2));
}

/// Cut at every byte: the lines that are whole are read, and the torn one is reported.
#[test]
fn a_torn_end_costs_the_last_line_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = left_behind(folder.path(), 0..3);
    let bytes = fs::read(&path).unwrap();
    let line = bytes.len() / 3;
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let (read, mark) = {
            let orphan = only_orphan(folder.path());
            orphan.oldest(100).unwrap()
        };
        let count = length / line;
        assert_eq!(read[..count], whole(0..3)[..count], "cut at {length}");
        let torn = (length % line) as u64;
        let expected: &[Line] =
            if torn == 0 { &[] } else { &[Line::Damaged { offset: (count * line) as u64, bytes: torn }] };
        assert_eq!(&read[count..], expected, "cut at {length}");
        assert_eq!(mark, Mark(length as u64));
    }
}

/// Any bit of the middle line turned: the lines around it are read.
#[test]
fn an_altered_line_costs_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = left_behind(folder.path(), 0..3);
    let bytes = fs::read(&path).unwrap();
    let line = bytes.len() / 3;
    for place in line..2 * line - 1 {
        let mut altered = bytes.clone();
        altered[place] ^= 0x10;
        fs::write(&path, &altered).unwrap();
        let (read, _) = only_orphan(folder.path()).oldest(100).unwrap();
        assert_eq!(read.first(), whole(0..3).first(), "at {place}");
        assert_eq!(read.last(), whole(0..3).last(), "at {place}");
        assert!(
            read[1..read.len() - 1].iter().all(|line| matches!(line, Line::Damaged { .. })),
            "at {place}"
        );
        assert!(read.len() >= 3, "at {place}");
    }
}

#[test]
fn it_holds_no_more_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::create(folder.path(), "one", 100).unwrap();
    spool.append(&lines(0..2)).unwrap();
    assert!(matches!(spool.append(&lines(2..4)), Err(SpoolError::Full { limit: 100 })));
    assert_eq!(spool.oldest(9).unwrap().0, whole(0..2), "all or none");
    let (_, mark) = spool.oldest(9).unwrap();
    spool.settle(mark).unwrap();
    spool.append(&lines(2..4)).expect("room again");
}

/// /dev/full takes no byte, as a full disk does.
#[test]
fn a_disk_that_takes_nothing_is_an_error_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::create(folder.path(), "one", LIMIT).unwrap();
    spool.append(&lines(0..1)).unwrap();
    let disk = std::mem::replace(&mut spool.file, OpenOptions::new().write(true).open("/dev/full").unwrap());
    assert!(matches!(spool.append(&lines(1..2)), Err(SpoolError::Disk(_))));
    spool.file = disk;
    spool.append(&lines(1..2)).unwrap();
    assert_eq!(spool.oldest(9).unwrap().0, whole(0..2));
}

/// A folder, a pipe, a link to nowhere and a file of another user have the name of a spool: they are named, and a real one
/// is taken over.
#[test]
fn what_cannot_be_opened_does_not_block_the_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    left_behind(folder.path(), 0..4);
    let named = |name: &str| folder.path().join(name);
    fs::create_dir(named("a-folder.spool")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(named("a-pipe.spool")).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink("/proc/self/no-such-file", named("a-link.spool")).unwrap();
    fs::write(named("unreadable.spool"), "x").unwrap();
    fs::set_permissions(named("unreadable.spool"), fs::Permissions::from_mode(0o000)).unwrap();
    let Scan { orphans, unreadable } = Spool::orphans(folder.path(), LIMIT).unwrap();
    let files = unreadable.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap());
    let mut files: Vec<&str> = files.collect();
    // Root reads every file.
    files.retain(|file| *file != "unreadable.spool");
    assert_eq!(files, ["a-folder.spool", "a-pipe.spool"], "{unreadable:?}");
    assert!(orphans.iter().any(|orphan| orphan.path().ends_with("dead.spool")));
}

/// Nothing but noise, with line breaks and without: it is one piece of damage for each part that is read, whatever its size.
#[test]
fn noise_is_no_row_and_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("noise.spool");
    fs::write(&path, [&b"\n\xff\x00\n"[..], &vec![b'x'; 40_000_000], b"\n\n"].concat()).unwrap();
    let mut spool = only_orphan(folder.path());
    let mut read = 0;
    while !spool.is_settled() {
        let (lines, mark) = spool.oldest(100).unwrap();
        let [Line::Damaged { offset, bytes }] = lines[..] else { panic!("{} lines", lines.len()) };
        assert_eq!(offset, read);
        assert!(bytes <= 2 * LONGEST_LINE, "{bytes}");
        read += bytes;
        spool.pass(mark);
    }
    assert_eq!(read, fs::metadata(&path).unwrap().len());
    let aside = spool.put_aside().unwrap();
    assert!(aside.ends_with("noise.damaged") && aside.exists() && !path.exists());
}

/// The rows name people.
#[test]
fn a_spool_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::create(&folder.path().join("deep/spool"), "one", 100).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("deep/spool")), 0o700);
    assert_eq!(mode(spool.path()), 0o600);
}
