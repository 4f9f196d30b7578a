//! How nodes behave that are not honest, or not good.
//!
//! A strategy decides with what a node can know: its own history, the log's public part, and for a cartel what its members
//! tell each other. What the draw of an audit will say nobody knows.

use aevir_events::Timestamp;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::random::Random;

/// What part of the nodes follows a strategy, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Strategy {
    /// Everybody is.
    Honest,
    /// Each on its own lies on one in four tasks, from the beginning.
    Independent,
    /// Each on its own lies on one in fifty, from the beginning: the least that anybody would bother for.
    Occasional,
    /// Works for half of the time, then lies on everything.
    Patient,
    /// Works for a quarter of the time, lies on eight tasks as fast as it can, takes its stake out, and comes back under another name.
    HitAndRun,
    /// One party under many names, none with a stake, that tells one lie on one in four tasks. A name that was caught is thrown away.
    Sybil,
    /// The same with a stake for each name.
    StakedSybil,
    /// A cartel of a tenth: lies on one in four tasks, and members stand by each other's lies.
    #[value(name = "colluding-10")]
    #[serde(rename = "colluding-10")]
    Colluding10,
    /// The same of three tenths.
    #[value(name = "colluding-30")]
    #[serde(rename = "colluding-30")]
    Colluding30,
    /// Copies what the log shows of a task's earlier round; where it shows nothing, guesses one in four times and works else.
    LazyCopier,
    /// Breaks down in one of twenty runs, and is wrong in one of fifty, without wanting it.
    Flaky,
    /// Takes three times as long as others.
    Slow,
    /// Falls silent in one of twenty runs, and keeps one in fifty of its sealed results to itself.
    Vanishing,
    /// Works; elected to look at a result it falls silent, or keeps the word that it sealed to itself, one as often as the other.
    SilentVerifiers,
    /// A cartel of a tenth that works; elected to look at a result its members say `true` without looking, all with the same fuel.
    CheatingVerifiers,
}

/// Lies of those who lie from the beginning: one in four.
const LIES_PPM: u32 = 250_000;
/// Lies of those who hardly ever lie.
const RARE_LIES_PPM: u32 = 20_000;
/// Lies of one hit: about as many as nodes have results open at a time in a market that is not full.
pub(crate) const HIT_LIES: u32 = 8;
/// Runs that break down or fall silent.
const BREAKS_PPM: u32 = 50_000;
/// Results that are wrong unwittingly, or are kept back.
const SLIPS_PPM: u32 = 20_000;
/// Verifiers that fall silent; the others seal a word and keep it back.
const SILENT_PPM: u32 = 500_000;
/// How much longer slow nodes take.
const SLOWNESS: i64 = 3;

/// What a node knows when it begins a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub(crate) now: Timestamp,
    /// When it joined.
    pub(crate) joined: Timestamp,
    /// How long the simulation lasts, in ms.
    pub(crate) span_ms: i64,
    /// When that began.
    pub(crate) begun: Timestamp,
    /// Lies that it told under its present name.
    pub(crate) lies: u32,
    /// What the log shows of an earlier round of the task.
    pub(crate) shown: Option<Answer>,
    /// A member of the cartel has sealed the cartel's lie on the task.
    pub(crate) is_lied_on: bool,
    /// It was elected to look at another's result.
    pub(crate) verifies: bool,
}

/// What a result says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Right,
    /// Equal lies are equal results.
    Wrong(u64),
}

/// What a node does with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Computes it.
    Work,
    /// Computes it, and a bit flips.
    Slip,
    /// Tells a lie of its own.
    Lie,
    /// Tells the lie that all of its party tell.
    PartyLine,
    /// Takes what another one found.
    Copy(Answer),
    /// Breaks down on the way.
    Break,
    /// Falls silent on the way.
    Vanish,
    /// Computes it, seals the result and never shows it.
    KeepBack,
}

impl Strategy {
    /// Its public name.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The part of the nodes that follow it.
    pub(crate) fn share_ppm(self) -> u32 {
        match self {
            Self::Honest => 0,
            Self::Colluding30 => 300_000,
            Self::Independent
            | Self::Occasional
            | Self::Patient
            | Self::HitAndRun
            | Self::Sybil
            | Self::StakedSybil
            | Self::Colluding10
            | Self::LazyCopier
            | Self::Flaky
            | Self::Slow
            | Self::Vanishing
            | Self::SilentVerifiers
            | Self::CheatingVerifiers => 100_000,
        }
    }

    /// It is about verifiers, so that all tasks ask for them.
    pub(crate) fn is_about_verifiers(self) -> bool {
        matches!(self, Self::SilentVerifiers | Self::CheatingVerifiers)
    }

    /// It puts up a stake.
    pub(crate) fn is_staked(self) -> bool {
        self != Self::Sybil
    }

    /// It goes on under another name when one is of no use any more.
    pub(crate) fn renames(self) -> bool {
        self.is_disposable() || self == Self::HitAndRun
    }

    /// It throws a name away that was caught once.
    pub(crate) fn is_disposable(self) -> bool {
        matches!(self, Self::Sybil | Self::StakedSybil)
    }

    /// How much longer its runs take.
    pub(crate) fn slowness(self) -> i64 {
        if self == Self::Slow { SLOWNESS } else { 1 }
    }

    /// What a node that follows it does with a run.
    pub(crate) fn conduct(self, sight: &Sight, random: &mut Random) -> Conduct {
        let since = |begin: Timestamp| sight.now.0 - begin.0;
        match self {
            Self::Honest | Self::Slow => Conduct::Work,
            Self::Independent => lie_at(LIES_PPM, random),
            Self::Occasional => lie_at(RARE_LIES_PPM, random),
            Self::Patient if since(sight.begun) >= sight.span_ms / 2 => Conduct::Lie,
            Self::HitAndRun
                if since(sight.joined) >= sight.span_ms / 4 && sight.lies < HIT_LIES =>
            {
                Conduct::Lie
            }
            Self::Patient | Self::HitAndRun => Conduct::Work,
            Self::Sybil | Self::StakedSybil | Self::Colluding10 | Self::Colluding30 => {
                if sight.is_lied_on || random.chance(LIES_PPM) {
                    Conduct::PartyLine
                } else {
                    Conduct::Work
                }
            }
            Self::LazyCopier => match sight.shown {
                Some(answer) => Conduct::Copy(answer),
                None => lie_at(LIES_PPM, random),
            },
            Self::Flaky if random.chance(BREAKS_PPM) => Conduct::Break,
            Self::Flaky if random.chance(SLIPS_PPM) => Conduct::Slip,
            Self::Vanishing if random.chance(BREAKS_PPM) => Conduct::Vanish,
            Self::Vanishing if random.chance(SLIPS_PPM) => Conduct::KeepBack,
            Self::SilentVerifiers if sight.verifies && random.chance(SILENT_PPM) => Conduct::Vanish,
            Self::SilentVerifiers if sight.verifies => Conduct::KeepBack,
            Self::CheatingVerifiers if sight.verifies => Conduct::PartyLine,
            Self::Flaky | Self::Vanishing | Self::SilentVerifiers | Self::CheatingVerifiers => {
                Conduct::Work
            }
        }
    }
}

fn lie_at(ppm: u32, random: &mut Random) -> Conduct {
    if random.chance(ppm) {
        Conduct::Lie
    } else {
        Conduct::Work
    }
}

impl Conduct {
    /// It costs the node a whole run.
    pub(crate) fn computes(self) -> bool {
        match self {
            Self::Work | Self::Slip | Self::KeepBack => true,
            Self::Lie | Self::PartyLine | Self::Copy(_) | Self::Break | Self::Vanish => false,
        }
    }

    /// It tells what it knows to be wrong, or does not know.
    pub(crate) fn cheats(self) -> bool {
        match self {
            Self::Lie | Self::PartyLine | Self::Copy(_) => true,
            Self::Work | Self::Slip | Self::KeepBack | Self::Break | Self::Vanish => false,
        }
    }
}
