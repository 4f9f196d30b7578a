//! The pipeline against the one-by-one replay: the same result, and the same first bad position, whoever is first.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::{Found, Inspect, Inspected, Replay, Stopped, Visit, replay};
use crate::{
    Damage, Entry, Flaw, Recorded, Timestamp,
    testing::Author,
    toy::{Balances, Bank, Happened, Order, deposit, transfer},
};

/// At least `count` entries of commands with one, two and seven events.
fn entries(count: usize) -> Vec<Entry> {
    let mut author = Author::<Bank>::new(1);
    for n in 0.. {
        if author.waiting() >= count {
            break;
        }
        let command = match n % 3 {
            0 => deposit("a", 5),
            1 => transfer("a", "b", 3),
            _ => Order::Many {
                to: "c".to_owned(),
                count: 7,
            },
        };
        author
            .submit("account/test", Timestamp(n), &command)
            .unwrap();
    }
    let rows = author.take(0).events;
    rows.into_iter().map(|row| row.entry).collect()
}

/// Runs the pipeline over chunks of this length.
fn run<I: Inspect<Bank>, V: Visit<Bank, I::Finding>>(
    entries: &[Entry],
    chunk: usize,
    workers: usize,
    inspect: &I,
    visit: &mut V,
) -> (Replay<Bank>, Result<(), Stopped<String>>) {
    let mut replay = Replay::<Bank>::default();
    let chunks = entries
        .chunks(chunk)
        .map(|chunk| Ok(chunk.iter().cloned().map(Found::from).collect()));
    let workers = NonZeroUsize::new(workers).unwrap();
    let result = replay.run(workers, chunks, inspect, visit);
    (replay, result)
}

fn damage(result: Result<(), Stopped<String>>) -> Damage {
    match result {
        Err(Stopped::Damage(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

/// Keeps what it is shown.
#[derive(Default)]
struct Watch {
    commands: Vec<Vec<u64>>,
    folded: Vec<(u64, u64)>,
    progress: Vec<u64>,
    objection: Option<(u64, u64)>,
}

impl Visit<Bank, usize> for Watch {
    fn before(
        &mut self,
        state: &Balances,
        command: &[Inspected<Happened, usize>],
    ) -> Result<(), Damage> {
        let positions: Vec<u64> = command.iter().map(|e| e.recorded.position).collect();
        assert_eq!(state.events, positions[0], "the state is the one before");
        let objection = self
            .objection
            .filter(|(first, _)| *first == positions[0])
            .map(|(_, position)| Damage {
                position,
                flaw: Flaw::Check("no".to_owned()),
            });
        self.commands.push(positions);
        objection.map_or(Ok(()), Err)
    }

    fn after(
        &mut self,
        state: &Balances,
        event: &Inspected<Happened, usize>,
    ) -> Result<(), String> {
        assert!(event.finding > 100, "the entry's length");
        self.folded.push((event.recorded.position, state.events));
        Ok(())
    }

    fn progress(&mut self, size: u64) {
        self.progress.push(size);
    }
}

/// Finds the length of each entry; refuses one.
struct Lengths {
    refused: Option<u64>,
}

impl Inspect<Bank> for Lengths {
    type Finding = usize;

    fn inspect(&self, entry: &Entry, recorded: &Recorded<Happened>) -> Result<usize, String> {
        match self.refused {
            Some(position) if position == recorded.position => Err("refused".to_owned()),
            Some(_) | None => Ok(entry.as_ref().len()),
        }
    }
}

const ALL: Lengths = Lengths { refused: None };

#[test]
fn commands_are_shown_whole_wherever_chunks_end() {
    let entries = entries(300);
    let expected = replay::<Bank>(entries.iter().cloned()).unwrap();
    for (chunk, workers) in [(1, 1), (2, 3), (3, 2), (7, 4), (64, 2), (1_000, 1)] {
        let mut watch = Watch::default();
        let (replay, result) = run(&entries, chunk, workers, &ALL, &mut watch);
        assert_eq!(result, Ok(()));
        assert_eq!(
            (replay.size(), replay.root()),
            (expected.size, expected.root)
        );
        assert_eq!(*replay.state(), expected.state);
        let lengths: Vec<usize> = watch.commands.iter().map(Vec::len).collect();
        assert!(
            lengths
                .iter()
                .enumerate()
                .all(|(n, length)| *length == [1, 2, 7][n % 3])
        );
        let shown: Vec<u64> = watch.commands.concat();
        assert_eq!(shown, (0..expected.size).collect::<Vec<_>>());
        assert!(
            watch
                .folded
                .iter()
                .all(|(position, events)| position + 1 == *events)
        );
        assert_eq!(watch.progress.last(), Some(&expected.size));
        assert!(watch.progress.is_sorted());
    }
}

#[test]
fn an_objection_counts_only_if_nothing_before_it_is_bad() {
    let entries = entries(60);
    // Commands begin at 0, 1, 3, 10, 11, 13.
    let mut watch = Watch {
        objection: Some((3, 7)),
        ..Watch::default()
    };
    let (replay, result) = run(&entries, 5, 2, &ALL, &mut watch);
    assert_eq!(damage(result).position, 7);
    assert_eq!(replay.size(), 7, "what comes before it is folded");

    let mut swapped = entries.clone();
    swapped.swap(5, 6);
    let mut watch = Watch {
        objection: Some((3, 7)),
        ..Watch::default()
    };
    let (replay, result) = run(&swapped, 20, 2, &ALL, &mut watch);
    assert_eq!(
        damage(result),
        Damage {
            position: 5,
            flaw: Flaw::Position(6)
        }
    );
    assert_eq!(replay.size(), 5);
}

#[test]
fn a_refused_entry_stops_the_replay_there() {
    let entries = entries(60);
    let refusing = Lengths { refused: Some(31) };
    let (replay, result) = run(&entries, 8, 3, &refusing, &mut Watch::default());
    assert_eq!(
        damage(result),
        Damage {
            position: 31,
            flaw: Flaw::Check("refused".to_owned())
        }
    );
    assert_eq!(replay.size(), 31);
}

#[test]
fn what_the_source_gave_before_it_failed_is_folded() {
    let entries = entries(60);
    let mut replay = Replay::<Bank>::default();
    let found = |entries: &[Entry]| Ok(entries.iter().cloned().map(Found::from).collect());
    let chunks = [
        found(&entries[..20]),
        found(&entries[20..34]),
        Err("torn".to_owned()),
    ];
    let result = replay.run(super::workers(), chunks.into_iter(), &(), &mut ());
    assert_eq!(result, Err(Stopped::Source("torn".to_owned())));
    assert_eq!(replay.size(), 34);
}

#[test]
fn a_row_in_the_wrong_place_is_a_gap_before_it_is_anything_else() {
    let entries = entries(20);
    let mut rows: Vec<Found> = entries
        .iter()
        .zip(0..)
        .map(|(entry, position)| Found {
            claimed: Some((position, entry.leaf())),
            entry: entry.clone(),
        })
        .collect();
    rows.remove(9);
    rows[9].entry.0[5] ^= 1;
    let mut replay = Replay::<Bank>::default();
    let result = replay.run(super::workers(), [Ok(rows)].into_iter(), &(), &mut ());
    assert_eq!(
        damage(result),
        Damage {
            position: 9,
            flaw: Flaw::Gap(10)
        }
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Damage anywhere, in several chunks at once: the pipeline says what the one-by-one replay says.
    #[test]
    fn the_first_bad_position_is_the_same(
        bad in prop::collection::vec((0usize..200, 0usize..400, any::<u8>()), 1..5), chunk in 1usize..60, workers in 1usize..5,
    ) {
        let mut entries = entries(200);
        for (position, at, byte) in bad {
            let bytes = &mut entries[position].0;
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let (replayed, result) = run(&entries, chunk, workers, &ALL, &mut Watch::default());
        match (replay::<Bank>(entries.iter().cloned()), result) {
            (Ok(expected), Ok(())) => prop_assert_eq!(replayed.root(), expected.root),
            (Err(expected), result) => {
                prop_assert_eq!(damage(result), expected.clone());
                prop_assert_eq!(replayed.size(), expected.position);
            }
            (Ok(_), Err(stopped)) => prop_assert!(false, "{}", stopped),
        }
    }
}
