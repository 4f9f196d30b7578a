//! The market's beginning: policy, requesters, nodes; and names that are taken later.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use aevir_platform::{
    amount::{Amount, Count},
    command::{
        Availability, COMPILE_MIB_MIN, Command, NodeProfile, OpenAccount, RegisterModule,
        RegisterNode, Scope, World as ModuleWorld,
    },
    digest::Digest,
    event::Event,
    hexbytes::Hex,
    ids::AccountId,
    report::BlobRef,
};
use anyhow::{Result, bail};
use ed25519_dalek::SigningKey;
use serde_json::json;

use super::{What, World};
use crate::{
    agent::{Agent, Seat},
    book::{BEGIN, Book},
    random::Random,
    tally::Tally,
    terms::{
        PRICE, REQUESTERS, RUNTIME_S, SPEED_PER_MILLE, STAKE, Terms, check_module, verification,
    },
};

/// What a requester is given, in micro-AEV: more than it can spend.
const MONEY: Amount = Amount(100_000_000_000_000);
/// The most that a task may cost, in micro-AEV: more than any of these does.
const BUDGET: Amount = Amount(100_000_000);
/// How long a join token is good for, in ms.
const TOKEN_MS: i64 = 60_000;

impl World {
    /// A market at its first moment, with all nodes there and nothing done.
    ///
    /// # Errors
    /// When the policy or the tasks' terms are none.
    pub(crate) fn new(terms: Terms) -> Result<Self> {
        let mut chance = Random::new(terms.seed);
        let template = json!({
            "type": "inference",
            "module": Digest::of(b"module").to_string(),
            "economics": {
                "budget": BUDGET.0.to_string(),
                "pricing": {"mode": "fixed", "price": PRICE.0.to_string()},
            },
            "limits": {"memory_mib": 256, "runtime_s": RUNTIME_S, "output_mib": 1},
        });
        let mut template: aevir_platform::definition::TaskDefinition =
            serde_json::from_value(template)?;
        template.verification = verification(&terms);
        let mut world = Self {
            book: Book::new(terms.seed),
            seats: Vec::new(),
            agents: Vec::new(),
            tally: Tally::default(),
            by_node: BTreeMap::new(),
            runs: BTreeMap::new(),
            requesters: Vec::new(),
            template,
            lied_on: BTreeSet::new(),
            shown: BTreeMap::new(),
            agenda: BinaryHeap::new(),
            entries: 0,
            arrivals: arrivals(&terms, &mut chance.fork()),
            open: 0,
            plan_at: BEGIN.0,
            random: chance.fork(),
            wires: chance.fork(),
            terms,
        };
        let policy = world.terms.policy.clone();
        world.submit(&Command::AdoptPolicy(policy))?;
        world.submit(&Command::Tick)?;
        for n in 0..REQUESTERS {
            let requester = world.requester(n)?;
            world.requesters.push(requester);
        }
        world.take_seats(&mut chance.fork())?;
        if let Some(first) = world.arrivals.last().copied() {
            world.at(first, What::Arrive);
        }
        Ok(world)
    }

    /// Followers of the strategy are spread among the others.
    fn take_seats(&mut self, chance: &mut Random) -> Result<()> {
        let (nodes, others) = (self.terms.nodes, self.terms.others());
        for n in 0..nodes {
            let follows = (n + 1) * others / nodes > n * others / nodes;
            let (least, most) = SPEED_PER_MILLE;
            self.seats.push(Seat {
                follows,
                speed: chance.between(least, most),
                ..Seat::default()
            });
            self.join(n)?;
        }
        Ok(())
    }

    /// A seat's machine joins under a new name.
    pub(super) fn join(&mut self, seat: usize) -> Result<()> {
        let name = format!("node {seat}.{}", self.seats[seat].names);
        let stake = match self.seats[seat].follows {
            true if !self.terms.strategy.is_staked() => Amount::ZERO,
            true | false => STAKE,
        };
        let account = self.account(&name)?;
        let token_hash = Digest::of(name.as_bytes());
        let key = SigningKey::from_bytes(&token_hash.0);
        self.submit(&Command::IssueJoinToken {
            account,
            token_hash,
            expires: self.book.now.plus_ms(TOKEN_MS),
        })?;
        let events = self.submit(&Command::RegisterNode(RegisterNode {
            token_hash,
            public_key: Hex(key.verifying_key().to_bytes()),
            key_hash: Digest::of(&token_hash.0),
            profile: profile(&name),
        }))?;
        let Some(Event::NodeRegistered(registered)) = events.first() else {
            bail!("no node was registered: {events:?}");
        };
        let node = registered.node;
        if stake > Amount::ZERO {
            self.deposit(account, stake, &format!("stake of {name}"))?;
            let amount = stake;
            self.submit(&Command::Stake {
                account,
                node,
                amount,
            })?;
        }
        self.by_node.insert(node, self.agents.len());
        self.agents.push(Agent {
            seat,
            account,
            node,
            key,
            joined: self.book.now,
            lies: 0,
            is_given_up: false,
            silent_until: BEGIN,
        });
        let of = &mut self.seats[seat];
        of.names += 1;
        of.brought += stake.0;
        let availability = Availability::Online;
        self.submit(&Command::SetAvailability { node, availability })?;
        Ok(())
    }

    fn requester(&mut self, n: usize) -> Result<AccountId> {
        let owner = self.account(&format!("requester {n}"))?;
        self.deposit(owner, MONEY, &format!("money of requester {n}"))?;
        let module = BlobRef {
            digest: Digest::of(b"module"),
            size: Count(6),
        };
        for (world, blob) in [
            (ModuleWorld::Task, module),
            (ModuleWorld::Check, check_module()),
        ] {
            self.submit(&Command::RegisterModule(RegisterModule {
                owner,
                name: format!("a {world:?}"),
                blob,
                world,
                imports: Vec::new(),
                compile_mib: COMPILE_MIB_MIN,
                code_mib: 1,
            }))?;
        }
        Ok(owner)
    }

    fn account(&mut self, name: &str) -> Result<AccountId> {
        let events = self.submit(&Command::OpenAccount(OpenAccount {
            name: name.into(),
            key_hash: Digest::of(format!("key of {name}").as_bytes()),
            scopes: Scope::OWNER.to_vec(),
        }))?;
        match events.first() {
            Some(Event::AccountOpened(opened)) => Ok(opened.account),
            other => bail!("no account was opened: {other:?}"),
        }
    }

    fn deposit(&mut self, account: AccountId, amount: Amount, reference: &str) -> Result<()> {
        let reference = reference.to_owned();
        self.submit(&Command::Deposit {
            account,
            amount,
            reference,
        })?;
        Ok(())
    }
}

/// The times at which tasks come in, any time as likely as any other, the last one first.
fn arrivals(terms: &Terms, chance: &mut Random) -> Vec<i64> {
    let span = terms.span_ms() - 1;
    let times = (0..terms.tasks()).map(|_| BEGIN.0 + chance.between(0, span));
    let mut times: Vec<i64> = times.collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    times
}

/// A machine that takes one run at a time.
fn profile(name: &str) -> NodeProfile {
    NodeProfile {
        name: name.to_owned(),
        cpu_cores: 4,
        memory_mib: 4_096,
        storage_mib: 65_536,
        slots: 1,
        gpu: None,
        runtime: "det/1".into(),
        cpu_mfuel_s: None,
        labels: BTreeMap::new(),
        confinement: None,
    }
}
