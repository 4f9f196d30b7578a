//! The draw: which of the candidates gets a replica follows from a secret that was committed to before, and can be
//! recomputed by everybody once the secret is disclosed (`docs/economics.md`, Draws).

use aevir_events::LeaderSecret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    amount::{PPM, Ppm},
    digest::Digest,
    hexbytes::Hex,
    state::Task,
};

/// The secret of an epoch: known to the leaders while it lasts, and to all afterwards.
pub type EpochSecret = Hex<32>;

/// What is drawn.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The only run of a task, among the best nodes and their near-equals.
    Run,
    /// One replica of a sampled task, among all nodes that fit.
    Replica,
    /// One verifier of a result, among all nodes that fit, by their owners' points.
    Verifier,
    /// The duplicate of a run whose task may be late, among the nodes that are faster.
    Tail,
}

impl Purpose {
    /// Its public name, which stands in the seed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Replica => "replica",
            Self::Verifier => "verifier",
            Self::Tail => "tail",
        }
    }
}

/// How a node was drawn, as `assignment.leased` records it: with the task's definition and nonce, all that a seed is made
/// of but for the epoch's secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Draw {
    pub epoch: u32,
    pub purpose: Purpose,
    /// Draws of the task before this one.
    pub number: u32,
    /// How many nodes it was among.
    pub candidates: u32,
    /// Of a verifier: the candidates, by their numbers, that came up before and were passed over by their owners' points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<u32>,
}

/// Candidates that an election passes over at most; the one that comes up then is elected whatever its points are. At the default floor
/// two in ten thousand elections among newcomers come so far.
pub(crate) const PASSED_MAX: usize = 64;

/// The candidate that a draw falls on, and those that an election passed over before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) index: u32,
    pub(crate) passed: Vec<u32>,
}

/// All that one draw follows from, but for the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) purpose: Purpose,
    pub(crate) definition: Digest,
    pub(crate) nonce: Hex<32>,
    pub(crate) round: u32,
    pub(crate) number: u32,
}

impl Ticket {
    /// Of a task that was drawn for so many times.
    pub(crate) fn of(task: &Task, number: u32) -> Self {
        let purpose = if task.inspects.is_some() {
            Purpose::Verifier
        } else if task.definition.sampling().replicas > 1 {
            Purpose::Replica
        } else {
            Purpose::Run
        };
        Self {
            purpose,
            definition: task.definition_digest,
            nonce: task.nonce,
            round: task.round,
            number,
        }
    }

    /// Of a duplicate, for a task that was drawn for so many times.
    pub(crate) fn tail(task: &Task, number: u32) -> Self {
        Self {
            purpose: Purpose::Tail,
            ..Self::of(task, number)
        }
    }

    /// Which of so many candidates is drawn: the seed's first 128 bits, modulo their number. What that prefers the first
    /// ones by is below one part in 2^96. A verifier is elected: who comes up is taken with a chance, in parts per million, that `weight`
    /// says, or else the next one comes up.
    pub(crate) fn choose(&self, urn: &Urn, candidates: u32, weight: impl Fn(u32) -> Ppm) -> Choice {
        let parts = (self.definition, self.nonce, self.round, self.number);
        let mut passed = Vec::new();
        match self.purpose {
            Purpose::Run | Purpose::Replica | Purpose::Tail => {
                let index = urn.draw(self.purpose.name(), parts, candidates);
                Choice { index, passed }
            }
            Purpose::Verifier => loop {
                let seed = urn.seed(self.purpose.name(), parts, Some(passed.len()));
                let index = below(&seed[..16], candidates);
                if below(&seed[16..], PPM as u32) < weight(index) || passed.len() >= PASSED_MAX {
                    return Choice { index, passed };
                }
                passed.push(index);
            },
        }
    }
}

/// How it was drawn whether a result is repeated, as `task.trust_decided` records it: with the task's definition, nonce and round, all
/// that the seed is made of but for the epoch's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Coin {
    /// The epoch that was open when the result was sealed.
    pub epoch: u32,
    /// Leases of the task so far.
    pub number: u32,
    /// How often such a result is repeated, in parts per million.
    pub chance_ppm: Ppm,
}

/// All that one coin follows from, but for the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Toss {
    definition: Digest,
    nonce: Hex<32>,
    round: u32,
    pub(crate) number: u32,
    pub(crate) chance_ppm: Ppm,
}

/// What stands in the seed of a coin, where a draw's purpose would.
const COIN: &str = "audit";

impl Toss {
    /// For the result that the task has now.
    pub(crate) fn of(task: &Task, chance_ppm: Ppm) -> Self {
        Self {
            definition: task.definition_digest,
            nonce: task.nonce,
            round: task.round,
            number: u32::try_from(task.assignments.len()).unwrap_or(u32::MAX),
            chance_ppm,
        }
    }

    /// Whether the result is repeated: a draw among a million, of which so many say so.
    pub(crate) fn repeats(&self, urn: &Urn) -> bool {
        let parts = (self.definition, self.nonce, self.round, self.number);
        urn.draw(COIN, parts, PPM as u32) < self.chance_ppm
    }
}

/// An epoch's secret, ready to draw with (HMAC-SHA-256, RFC 2104).
#[derive(Clone)]
pub(crate) struct Urn(Hmac<Sha256>);

impl Urn {
    pub(crate) fn of(secret: &EpochSecret) -> Self {
        Self(keyed(&secret.0))
    }

    /// A number below `bound`, from the purpose and what the draw is for: definition digest, nonce, round and number.
    fn draw(&self, purpose: &str, parts: (Digest, Hex<32>, u32, u32), bound: u32) -> u32 {
        below(&self.seed(purpose, parts, None)[..16], bound)
    }

    /// The seed of a draw; of an election, that of its so many'th candidate, from 0.
    fn seed(
        &self,
        purpose: &str,
        (definition, nonce, round, number): (Digest, Hex<32>, u32, u32),
        attempt: Option<usize>,
    ) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(b"aevir.draw/1\n");
        mac.update(purpose.as_bytes());
        mac.update(b"\n");
        mac.update(&definition.0);
        mac.update(&nonce.0);
        mac.update(&round.to_be_bytes());
        mac.update(&number.to_be_bytes());
        if let Some(attempt) = attempt {
            // At most `PASSED_MAX`.
            mac.update(&(attempt as u32).to_be_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

/// The first 128 bits as a big-endian number, modulo a bound.
fn below(bits: &[u8], bound: u32) -> u32 {
    let bits = bits.first_chunk().copied().unwrap_or_default();
    let drawn = u128::from_be_bytes(bits) % u128::from(bound.max(1));
    u32::try_from(drawn).unwrap_or(0)
}

/// What `epoch.opened` says of a secret: it can't be taken back, and tells nothing.
pub fn commitment(secret: &EpochSecret) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"aevir.epoch/1\n");
    hash.update(secret.0);
    Digest(hash.finalize().into())
}

/// The secret of an epoch, as every leader with the same secret derives it.
pub(crate) fn secret_of(leader: &LeaderSecret, epoch: u32) -> EpochSecret {
    let mut mac = keyed(&leader.0);
    mac.update(b"aevir.epoch-secret/1\n");
    mac.update(&epoch.to_be_bytes());
    Hex(mac.finalize().into_bytes().into())
}

fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    // A key of one block; shorter ones are padded with zeros, so that 32 bytes are as good.
    let mut key = [0; 64];
    key[..32].copy_from_slice(secret);
    Hmac::new(&key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            purpose: Purpose::Replica,
            definition: Digest([1; 32]),
            nonce: Hex([2; 32]),
            round: 1,
            number: 0,
        }
    }

    /// Computed apart, with Python's hmac and hashlib (docs/audit/recompute.py).
    #[test]
    fn agrees_with_another_implementation() {
        let secret = Hex([3; 32]);
        assert_eq!(
            commitment(&secret).to_string(),
            "e6ec92efb6b29e9a7b199c311b7269f2211dc1ac49faf1f971996e6ddbe63e2d"
        );
        assert_eq!(
            ticket().choose(&Urn::of(&secret), 1_000_000, |_| 0).index,
            751_677
        );
        let toss = |chance_ppm| Toss {
            definition: Digest([1; 32]),
            nonce: Hex([2; 32]),
            round: 1,
            number: 1,
            chance_ppm,
        };
        assert!(!toss(111_546).repeats(&Urn::of(&secret)));
        assert!(toss(111_547).repeats(&Urn::of(&secret)));
        let leader = LeaderSecret([4; 32]);
        assert_eq!(
            secret_of(&leader, 7).to_string(),
            "df28d7a387a1e495bc5d2611d08d787c98645d7e766e4b0f56887b98adb18402"
        );
    }

    #[test]
    fn every_part_matters_and_all_candidates_are_drawn() {
        let urn = Urn::of(&Hex([3; 32]));
        let other = Urn::of(&Hex([4; 32]));
        const MANY: u32 = u32::MAX;
        let of = |ticket: Ticket| ticket.choose(&urn, MANY, |_| 0).index;
        let base = ticket();
        let changed = [
            of(Ticket {
                purpose: Purpose::Run,
                ..base
            }),
            of(Ticket {
                definition: Digest([9; 32]),
                ..base
            }),
            of(Ticket {
                nonce: Hex([9; 32]),
                ..base
            }),
            of(Ticket { round: 2, ..base }),
            of(Ticket { number: 1, ..base }),
            base.choose(&other, MANY, |_| 0).index,
        ];
        assert!(changed.iter().all(|index| *index != of(base)));
        let mut drawn = [0u32; 8];
        for number in 0..8_000 {
            drawn[Ticket { number, ..base }.choose(&urn, 8, |_| 0).index as usize] += 1;
        }
        assert!(drawn.iter().all(|n| (850..1_150).contains(n)), "{drawn:?}");
    }

    #[test]
    fn verifiers_are_elected_by_their_weights() {
        let urn = Urn::of(&Hex([3; 32]));
        let of = |number| Ticket {
            purpose: Purpose::Verifier,
            number,
            ..ticket()
        };
        // Computed apart, as above.
        let chosen = of(0).choose(&urn, 1_000, |index| if index < 500 { 0 } else { 250_000 });
        assert_eq!(
            (chosen.index, chosen.passed),
            (
                762,
                vec![104, 932, 613, 821, 104, 339, 136, 874, 825, 62, 200, 624]
            )
        );
        let weight = |index: u32| 1_000_000 >> index;
        let mut elected = [0u32; 4];
        for number in 0..8_000 {
            elected[of(number).choose(&urn, 4, weight).index as usize] += 1;
        }
        // 8 : 4 : 2 : 1 of 15.
        for (index, n) in elected.iter().enumerate() {
            let due = 8_000 * (8 >> index) / 15;
            assert!(n.abs_diff(due) < 200, "{elected:?}");
        }
        let none = of(0).choose(&urn, 4, |_| 0);
        assert_eq!(
            none.passed.len(),
            PASSED_MAX,
            "somebody is elected in the end"
        );
    }
}
