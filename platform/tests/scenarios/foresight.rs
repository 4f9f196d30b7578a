//! What a world would do, without doing it.

use aevir_events::{Context, LeaderSecret};
use aevir_platform::{
    definition::TaskDefinition,
    rejection::Rejection,
    schedule::{self, Quote},
};

use crate::world::World;

impl World {
    /// How many times a plan would look at a task now.
    pub fn looks(&self) -> usize {
        schedule::looks(&self.state, &self.context("system".into()))
    }

    /// The quote that the world's requester gets.
    pub fn quote(&self, definition: &TaskDefinition) -> Result<Quote, Rejection> {
        let context = self.context(format!("account/{}", self.requester));
        schedule::quote(&self.state, self.requester, definition, &context)
    }

    fn context(&self, actor: String) -> Context {
        Context {
            time: self.now,
            actor,
            entropy: [0; 32],
            secret: LeaderSecret(self.secret),
        }
    }
}
