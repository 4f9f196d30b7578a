//! The steps that lift the data of superseded event versions to today's types, one function each.
//!
//! A new version of an event: give it the next number in the table of `event.rs`, write the step from the version
//! before here, run `cargo xtask schemas`. The golden corpus then proves that every entry ever written is still read.

use aevir_events::Upcaster;

/// All steps.
pub(crate) const STEPS: [Upcaster; 3] = [
    Upcaster {
        label: "node.registered",
        from: 1,
        // Version 2 adds what the node says of its executors' confinement. Before, nodes did not say.
        lift: Ok,
    },
    Upcaster {
        label: "node.registered",
        from: 2,
        // Version 3 adds measured speeds and the GPU's largest buffer. Before, nothing was measured.
        lift: Ok,
    },
    Upcaster {
        label: "assignment.lost",
        from: 1,
        // Version 2 adds the reason `revoked`.
        lift: Ok,
    },
];
