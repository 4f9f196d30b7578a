//! Tasks that are asked for: all ways to pay, to verify and to use contents.

use aevir_platform::command::Command;
use serde_json::{Value, json};

use super::Player;
use crate::market::{blob, check_module, comparator};

/// Contents that are registered, models among them.
const CONTENTS_MAX: usize = 24;
/// Tasks that are open at a time.
const OPEN_MAX: usize = 16;

impl Player {
    pub(super) fn submission(&mut self) -> Option<Command> {
        if self.market.open.len() >= OPEN_MAX {
            return Some(Command::Plan);
        }
        let requester = self.requester();
        let price = [0, 1, 999, 100_003, 1_000_000, 1_234_567][self.random.below(6)];
        let verifiers = self.verifiers();
        let check = json!({"method": "check", "module": {"module": check_module().digest.to_string(), "verifiers": verifiers}});
        let mut attesters = verifiers.clone();
        if attesters["fee"] == "0" {
            attesters["fee"] = json!("1");
        }
        let attestation = json!({"method": "attestation", "verifiers": attesters});
        let comparator =
            json!({"module": {"module": comparator().digest.to_string(), "verifiers": verifiers}});
        let replicas = [3, 4][self.random.below(2)];
        let compared = json!({"method": "sampling", "quorum": replicas - 1, "replicas": replicas, "comparator": comparator});
        let methods = [
            json!([compared]),
            json!([compared, attestation, check]),
            json!([]),
            json!([{"method": "sampling", "quorum": 2, "replicas": 3}]),
            json!([{"method": "sampling", "quorum": 2, "replicas": 3, "initial": 3}]),
            json!([{"method": "sampling", "quorum": 3, "replicas": 5}]),
            json!([{"method": "sampling", "quorum": 2, "replicas": 2, "adaptive": true}]),
            json!([{"method": "sampling", "quorum": 2, "replicas": 3, "adaptive": true}]),
            json!([{"method": "check", "schema": {"properties": {"n": {"maximum": 0}}}}]),
            json!([check]),
            json!([attestation]),
            json!([{"method": "sampling", "quorum": 2, "replicas": 3, "adaptive": true}, attestation, check]),
            json!([{"method": "sampling", "quorum": 2, "replicas": 2}, attestation]),
            json!([{"method": "sampling", "quorum": 2, "replicas": 2, "adaptive": true, "unstaked": true}]),
            // So often that a node is caught which one of them stood for alone.
            json!([{"method": "sampling", "quorum": 2, "replicas": 3, "adaptive": true}]),
            json!([{"method": "sampling", "quorum": 2, "replicas": 3, "adaptive": true}]),
        ];
        let contents: Vec<String> = self
            .market
            .state
            .contents
            .keys()
            .map(ToString::to_string)
            .collect();
        // Models are few, and what they were made of earns by them alone.
        let known = self.market.state.contents.iter();
        let models = known.filter(|(_, content)| content.lineage.is_some());
        let models: Vec<String> = models.map(|(id, _)| id.to_string()).collect();
        let data = (0..self.random.below(3)).map(|n| {
            let of = match !models.is_empty() && self.random.chance(2) {
                true => &models,
                false => &contents,
            };
            let id = &of[self.random.below(of.len())];
            json!({"name": format!("input-{n}"), "from": {"content": {"id": id}}})
        });
        let data: Vec<Value> = data.collect();
        let kind = ["inference", "evaluation"][self.random.below(2)];
        let pricing = self.pricing(price);
        let budget = if self.random.chance(25) {
            price
        } else {
            40_000_000
        };
        let mut definition = json!({
            "type": kind,
            "module": blob(b"module").digest.to_string(),
            "data": data,
            "economics": {
                "budget": budget.to_string(),
                "pricing": pricing,
            },
            "verification": methods[self.random.below(methods.len())],
            "retry": {"max_attempts": 1 + self.random.below(4)},
            "limits": {"runtime_s": 60},
        });
        if self.random.chance(6) {
            let most = [0, 20_000, 1_000_000][self.random.below(3)];
            definition["economics"]["contents_max"] = json!(most.to_string());
        }
        if self.random.chance(30) {
            definition["qos"]["labels"] = json!({"zone": "here"});
        }
        let is_compared = definition["verification"]
            .to_string()
            .contains("comparator");
        if self.random.chance(if is_compared { 2 } else { 12 }) {
            definition["qos"]["gpu"] = json!({});
        } else if is_compared {
            definition["runtime"] = json!("fast/1");
        }
        if self.random.chance(3) && contents.len() < CONTENTS_MAX {
            definition["model"] = json!({"target": self.target()});
        }
        if self.random.chance(3) {
            let ms = [500, 30_000, 400_000][self.random.below(3)];
            definition["qos"]["max_latency_ms"] = json!(ms);
            let part = [0, 250_000, 333_333][self.random.below(3)];
            definition["economics"]["late_refund_ppm"] = json!(part);
        }
        if self.random.chance(6) {
            let ms = 1 + self.random.below(200_000) as i64;
            definition["qos"]["deadline"] = json!(self.market.now.plus_ms(ms).to_string());
        }
        if self.random.chance(8)
            && let Some(task) = self.random.pick(&self.market.tasks)
        {
            let task = &self.market.state.tasks[&task];
            definition["depends_on"] = json!([{"task": task.id.to_string()}]);
            let definition = Box::new(serde_json::from_value(definition).unwrap());
            let requester = task.requester;
            return Some(Command::SubmitTask {
                requester,
                definition,
            });
        }
        let definition = Box::new(serde_json::from_value(definition).unwrap());
        Some(Command::SubmitTask {
            requester,
            definition,
        })
    }

    /// Who looks at a result: two of two, or two of three.
    fn verifiers(&mut self) -> Value {
        let fee = [0, 7, 77_777][self.random.below(3)].to_string();
        json!({"count": 2 + self.random.below(2), "quorum": 2, "fee": fee})
    }

    /// A way to pay, with the price for what is certain or most.
    fn pricing(&mut self, price: i64) -> Value {
        let price = price.to_string();
        match self.random.below(6) {
            0 => json!({"mode": "ask", "max_price": price}),
            1 => {
                let [base, fuel, bytes] = [[0, 7, 1_003], [0, 7, 333_331], [0, 7, 1 << 30]]
                    .map(|amounts: [i64; 3]| amounts[self.random.below(3)].to_string());
                json!({"mode": "metered", "base": base, "per_gfuel": fuel, "per_mib_out": bytes, "max_price": price})
            }
            _ => json!({"mode": "fixed", "price": price}),
        }
    }

    /// A model of its own name, on terms of its own.
    fn target(&mut self) -> Value {
        let name = format!("model {}", self.market.log.len());
        let price = [0, 1, 77_777][self.random.below(3)].to_string();
        json!({"name": name, "version": "1", "outputs": ["out-0"], "licence": "MIT", "price": price})
    }
}
