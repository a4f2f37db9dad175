//! What a mapping takes, counted: bytes and allocations a row. `make scale` shows what that comes to in a gate.

#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot do")]

use std::alloc::System;
use std::fmt::Write as _;

use policy::mapping::Mapping;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a row holds, its line in the file included. 100,000 rows are 70 MB then.
const MOST_BYTES: usize = 700;
/// What is asked for to read one; nearly all of it is given back at once.
const MOST_ALLOCATIONS: usize = 30;
/// What a row holds more where a segment that all rows have is 98 bytes longer: its line in the file, and the pattern's text.
const MOST_FOR_LONGER: usize = 250;

/// Blueprints of fifty rows, of the kinds that an application has. All paths begin with the segment `first`.
fn file(rows: usize, first: &str) -> String {
    let mut file = format!("version = 1\nrows = {rows}\n[clusters]\nS1 = \"shadow\"\n");
    for row in 0..rows {
        let (area, view) = (row / 50, row % 50);
        if view == 0 {
            write!(file, "[blueprints.area{area}]\ncluster = \"S1\"\n[blueprints.area{area}.routes]\n")
                .unwrap();
        }
        let path = match row % 4 {
            0 => format!("/{first}/area{area}/list{view}/"),
            1 => format!("/{first}/area{area}/<id>/view{view}"),
            2 => format!("/{first}/area{area}/<int:number>/<slug>/view{view}"),
            _ => format!("/{first}/files{area}/view{view}/<path:rest>"),
        };
        writeln!(file, "\"GET {path}\" = {{ legacy = [\"ops\", \"support\"], role = \"role-{}\" }}", row % 7)
            .unwrap();
    }
    file
}

/// What reading a file allocates in all, and what of it the mapping keeps.
fn read(source: &str, rows: usize) -> (Stats, usize) {
    let region = Region::new(ALLOCATOR);
    let mapping = Mapping::parse("routes.toml", source).unwrap();
    let stats = region.change();
    assert_eq!(mapping.rows().len(), rows);
    (stats, stats.bytes_allocated - stats.bytes_deallocated)
}

/// One test, because it counts what the process allocates.
#[test]
fn a_row_takes_the_same_however_many_there_are() {
    what_rows_share_is_held_once();
    let whole = |rows| format!("{}[soak]\nshadow_days = 14\n", file(rows, "console"));
    let mut before: Option<[usize; 3]> = None;
    for rows in [2_000, 8_000] {
        let (stats, kept) = read(&file(rows, "console"), rows);
        let each = [kept / rows, stats.allocations / rows, stats.bytes_allocated / rows];
        println!("{rows} rows: {each:?} bytes kept, allocations, bytes allocated for each");
        assert!(each[0] <= MOST_BYTES, "{} bytes a row", each[0]);
        assert!(each[1] <= MOST_ALLOCATIONS, "{} allocations a row", each[1]);
        if let Some(before) = before {
            let grew = before.iter().zip(each).any(|(before, each)| each > before + before / 5);
            assert!(
                !grew,
                "four times the rows take more than four times as much: {before:?}, then {each:?}"
            );
        }
        before = Some(each);
        // What is after the blueprints makes it be read as a whole, which takes more meanwhile and keeps the same.
        let (_, kept_of_whole) = read(&whole(rows), rows);
        assert!(kept_of_whole.abs_diff(kept) < rows, "{kept_of_whole} and {kept}");
    }
}

/// The segment that all paths begin with, and which one more letter makes longer in each row of the file.
fn what_rows_share_is_held_once() {
    const ROWS: usize = 2_000;
    let long = "console".repeat(15);
    let (_, of_short) = read(&file(ROWS, "console"), ROWS);
    let (_, of_long) = read(&file(ROWS, &long), ROWS);
    let each = of_long.saturating_sub(of_short) / ROWS;
    println!("a segment of {} bytes takes {each} bytes more a row than one of 7", long.len());
    assert!(each < MOST_FOR_LONGER, "{each} bytes more a row");
}
