//! Findings of a test run for a person: the lines of the test file, and the row that decided.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level as Shown, Snippet};
use policy::diagnostic::Lines;

use super::coverage::Coverage;
use super::invariants::Judgement;
use super::mutants::Mutation;
use super::run::Outcome;
use super::{TestFile, World};
use crate::report::style::{Style, columns};
use crate::report::text::wrapped;

/// One finding with its places in both files.
pub(super) struct Shows<'a> {
    pub id: &'static str,
    pub message: String,
    /// The place in the test file, and what is written next to it.
    pub place: Range<usize>,
    pub label: String,
    /// The place of the row that decides.
    pub row: Option<Range<usize>>,
    pub row_label: String,
    pub notes: Vec<String>,
    pub file: &'a TestFile,
}

/// The text of a finding, with a newline at its end.
pub(super) fn shown(shows: &Shows<'_>, world: &World<'_>, style: Style) -> String {
    let head = shows.id.len() + "error[]: ".len();
    let title = wrapped(&shows.message, columns().saturating_sub(head), 0, 0);
    let lines = Lines::new(&shows.file.source);
    let rows = Lines::new(world.mapping.source());
    let mut group = Shown::ERROR.primary_title(&title).id(shows.id).element(snippet(
        &shows.file.path,
        &lines,
        &shows.place,
        (AnnotationKind::Primary, &shows.label),
    ));
    if let Some(row) = &shows.row {
        let labelled = (AnnotationKind::Context, shows.row_label.as_str());
        group = group.element(snippet(world.mapping_file, &rows, row, labelled));
    }
    let notes: Vec<String> =
        shows.notes.iter().map(|note| wrapped(note, columns().saturating_sub(16), 0, 0)).collect();
    for note in &notes {
        group = group.element(Shown::NOTE.message(note));
    }
    style.renderer().render(&[group]) + "\n"
}

fn snippet<'s>(
    path: &'s str,
    lines: &Lines<'s>,
    place: &Range<usize>,
    (kind, label): (AnnotationKind, &'s str),
) -> Snippet<'s, annotate_snippets::Annotation<'s>> {
    let (source, base) = lines.around(place);
    Snippet::source(source)
        .path(path)
        .line_start(lines.position(place.start).0)
        .annotation(kind.span(place.start - base..place.end - base).label(label))
}

/// The cases that do not hold, each with its places.
pub fn failed_cases(file: &TestFile, outcomes: &[Outcome], world: &World<'_>, style: Style) -> String {
    let mut text = String::new();
    for (case, outcome) in file.cases.iter().zip(outcomes) {
        let (Some(message), Some(failure)) = (outcome.sentence(), &outcome.failure) else { continue };
        let row = failure.offset.zip(failure.row.as_ref());
        let mut notes = vec![failure.why.clone()];
        if failure.requests > 1 {
            notes.push(format!("{} of {} requests differ", failure.requests, outcome.requests));
        }
        notes.extend(case.because.clone());
        text += &shown(
            &Shows {
                id: "failed-case",
                message,
                place: case.span.clone(),
                label: format!("expected {}", outcome.expected),
                row: row.map(|(offset, (route, _))| offset..offset + route.len() + 2),
                row_label: format!("this row decides: {}", failure.answer.word()),
                notes,
                file,
            },
            world,
            style,
        );
        text.push('\n');
    }
    text
}

/// The invariants that do not hold, each with its smallest witness.
pub fn violated(file: &TestFile, judgements: &[Judgement], world: &World<'_>, style: Style) -> String {
    let mut text = String::new();
    for (invariant, judgement) in file.invariants.iter().zip(judgements) {
        let Some(message) = judgement.sentence() else { continue };
        let witness = judgement.witness.as_ref();
        let row = witness.and_then(|witness| witness.offset.zip(witness.row.as_ref()));
        let mut notes: Vec<String> = witness.iter().map(|witness| witness.why.clone()).collect();
        if let Some(witness) = witness.filter(|witness| witness.requests > 1) {
            notes.push(format!("{} of {} requests violate it", witness.requests, judgement.requests));
        }
        notes.extend(invariant.because.clone());
        text += &shown(
            &Shows {
                id: "violated-invariant",
                message,
                place: invariant.span.clone(),
                label: format!("`{}` does not hold", judgement.kind.word()),
                row: row.map(|(offset, (route, _))| offset..offset + route.len() + 2),
                row_label: witness
                    .map_or_else(String::new, |one| format!("this row decides: {}", one.answer.word())),
                notes,
                file,
            },
            world,
            style,
        );
        text.push('\n');
    }
    text
}

/// The most lines of a table; the others are counted.
const MOST: usize = 20;

/// The cells that no case reaches, by row, and their number.
pub fn covered(coverage: &Coverage, full: bool) -> String {
    let open: Vec<_> = coverage.rows.iter().filter(|row| !row.missing.is_empty()).collect();
    let mut text = String::new();
    for row in shortened(&open, full) {
        let route = row.route.as_deref().unwrap_or("no row");
        text += &format!("{:>3} of {:<3} {route}\n", row.reached, row.possible);
        let missing: Vec<String> =
            row.missing.iter().map(|cell| format!("{} {}", cell.caller.word(), cell.answer.word())).collect();
        text += &wrapped(&format!("no case: {}", missing.join(", ")), columns(), 11, 13);
        text.push('\n');
    }
    text += &more(open.len(), full, "row");
    let (reached, possible, percent) = (coverage.reached, coverage.possible, coverage.percent());
    text + &format!("coverage: {reached} of {possible} cells (row, kind of caller, answer), {percent} %\n")
}

/// The mutants that no test kills, and the numbers of the others.
pub fn mutated(mutation: &Mutation, full: bool) -> String {
    let mut text = String::new();
    for survivor in shortened(&mutation.survivors, full) {
        let line = survivor.line.map_or_else(String::new, |line| format!(" (line {line})"));
        text += &wrapped(&format!("{}{line}", survivor.sentence), columns(), 0, 4);
        text.push('\n');
        if let Some(example) = &survivor.example {
            text += &wrapped(&format!("for example {example}"), columns(), 4, 6);
            text.push('\n');
        }
    }
    text += &more(mutation.survivors.len(), full, "mutant");
    let Mutation { mutants, killed, equivalent, refused, survivors } = mutation;
    let (survive, percent) = (survivors.len(), mutation.percent());
    let counts = format!(
        "mutants: {killed} of {} killed, {percent} %; {survive} survive. Of {mutants} in all, {equivalent} change no \
         decision and {refused} would not be activated",
        killed + survive,
    );
    text + &wrapped(&counts, columns(), 0, 4) + "\n"
}

fn shortened<T>(all: &[T], full: bool) -> &[T] {
    if full { all } else { &all[..all.len().min(MOST)] }
}

fn more(count: usize, full: bool, what: &str) -> String {
    match count.saturating_sub(MOST) {
        0 => String::new(),
        _ if full => String::new(),
        more => format!("and {more} more {what}s: `--full` lists them\n"),
    }
}
