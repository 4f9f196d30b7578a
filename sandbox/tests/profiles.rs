//! Fuel is the same in both profiles and in every run, and stays what it is.
#![allow(clippy::unwrap_used)]

mod support;

use aevir_sandbox::{End, Profile, prepare_upload};
use support::{Bench, example, guest};

/// Guests, and the fuel that they use. A number that changes though its guest was not built anew means that results of older runs no
/// longer compare: the profiles get new names, in `engine.rs`.
fn rows() -> Vec<(&'static str, Bench, u64)> {
    let c = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/programs/survey.wasm"
    ));
    let c = prepare_upload(&c.unwrap()).unwrap().component.into_owned();
    vec![
        ("ok", Bench::new(&guest("ok")), FUEL_OK),
        ("floats", Bench::new(&guest("floats")), FUEL_FLOATS),
        (
            "ranges",
            Bench::new(&guest("ranges")).input("data", &[7; 100]),
            FUEL_RANGES,
        ),
        (
            "echo",
            Bench::new(&example("echo"))
                .params(r#"{"spin": 2, "copy": ["a"], "metrics": {"x": 0.5}}"#)
                .input("a", b"some bytes"),
            FUEL_ECHO,
        ),
        (
            "survey",
            Bench::new(&c)
                .params(r#"{"args": ["-r", "8"]}"#)
                .input("stdin", b"one two\n"),
            FUEL_SURVEY,
        ),
    ]
}

const FUEL_OK: u64 = 11;
const FUEL_FLOATS: u64 = 237;
const FUEL_RANGES: u64 = 62_678;
const FUEL_ECHO: u64 = 78_087_543;
const FUEL_SURVEY: u64 = 218_624;

#[tokio::test]
async fn fuel_is_the_same_in_every_profile_and_run() {
    let mut wrong = Vec::new();
    for (name, mut bench, pinned) in rows() {
        for profile in Profile::ALL {
            bench.spec.profile = profile;
            for _ in 0..2 {
                let ran = bench.run().await;
                assert_eq!(ran.outcome.end, End::Ok, "{name}");
                let fuel = ran.outcome.usage.fuel;
                if fuel != pinned {
                    wrong.push(format!(
                        "{name} in {}: {fuel}, not {pinned}",
                        profile.name()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Out of fuel at the same place: the last call that a guest could pay for is the same one.
#[tokio::test]
async fn fuel_ends_at_the_same_place_in_every_profile() {
    let mut said = Vec::new();
    for profile in Profile::ALL {
        let mut bench = Bench::guest("chatter").limits(|limits| limits.fuel = 1_234_567);
        bench.spec.profile = profile;
        let ran = bench.run().await;
        assert!(matches!(&ran.outcome.end, End::Limit { limit, .. } if limit == "fuel"));
        assert_eq!(ran.outcome.usage.fuel, 1_234_567);
        said.push(ran.events.len());
    }
    assert!(said[0] > 50);
    assert_eq!(said[0], said[1]);
}

#[test]
fn profiles_have_the_names_that_leases_say() {
    for profile in Profile::ALL {
        assert_eq!(Profile::named(profile.name()), Some(profile));
        let json = serde_json::to_value(profile).unwrap();
        assert_eq!(json, profile.name());
    }
    assert_eq!(Profile::named("det/2"), None);
}
