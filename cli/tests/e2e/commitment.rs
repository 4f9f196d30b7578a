//! Nodes and the platform compute commitments with code of their own; both must agree, byte for byte.

use aevir_platform::report as domain;
use aevir_wire as wire;

fn report() -> wire::Report {
    let digest = |byte: &str| byte.repeat(32);
    wire::Report {
        task: "01JD0000000000000000000001".into(),
        assignment: "01JD0000000000000000000002".into(),
        node: "01JD0000000000000000000003".into(),
        outputs: vec![wire::Artifact {
            name: "weights".into(),
            digest: digest("ab"),
            size: u64::MAX.to_string(),
        }],
        result: wire::BlobRef {
            digest: digest("cd"),
            size: "2".into(),
        },
        metrics: vec![wire::MetricValue {
            name: "loss".into(),
            step: "40".into(),
            value: i64::MIN.to_string(),
        }],
        usage: wire::Usage {
            fuel: "18446744073709551615".into(),
            ..wire::Usage::default()
        },
        trace_root: Some(digest("ef")),
        class: "SwiftShader-0123456789abcdef".into(),
        resumed_from: None,
        salt: digest("01"),
    }
}

#[test]
fn node_and_platform_agree_on_commitments() {
    let mut sealed = report();
    for _ in 0..2 {
        let json = serde_json::to_value(&sealed).unwrap();
        let opened: domain::Report = serde_json::from_value(json).unwrap();
        let commitment = sealed.commitment().unwrap();
        assert_eq!(hex::encode(commitment), opened.commitment().to_string());
        let signed = domain::commit_message(opened.commitment());
        assert_eq!(wire::commit_message(commitment), signed);
        // Again without the fields that may be left out.
        sealed.trace_root = None;
        sealed.resumed_from = Some("23".repeat(32));
    }
}

#[test]
fn a_nodes_signature_is_accepted_by_the_platform() {
    let key = aevir_node::NodeKey::from_seed([9; 32]);
    let commitment = report().commitment().unwrap();
    let signature = key.sign_hex(&wire::commit_message(commitment));
    let check = |signature: &str| {
        let public: domain::NodeKey = key.public_hex().parse().unwrap();
        let commitment = hex::encode(commitment).parse().unwrap();
        domain::SignedCommitment::check(public, commitment, signature.parse().unwrap())
    };
    check(&signature).unwrap();
    let forged = key.sign_hex(b"something else");
    check(&forged).unwrap_err();
}

#[test]
fn a_node_checks_before_its_seal_what_the_platform_checks_at_the_reveal() {
    assert_eq!(
        (aevir_node::RESULT_BYTES_MAX, aevir_node::RESULT_DEPTH_MAX),
        (
            aevir_platform::RESULT_BYTES_MAX,
            aevir_platform::json::JSON_DEPTH_MAX
        )
    );
}

#[test]
fn the_runtimes_that_leases_name_are_the_sandboxs_profiles() {
    use aevir_sandbox::Profile;
    let names = Profile::ALL.map(Profile::name);
    assert_eq!(names, [wire::RUNTIME_REPRODUCIBLE, wire::RUNTIME_FAST]);
    assert_eq!(wire::FAST_CLASS_MARK, format!("+{}", Profile::Fast.name()));
}

/// What judging measures is what the platform registers, and what nodes give.
#[test]
fn what_compiling_may_take_is_the_same_everywhere() {
    use aevir_platform::command::{COMPILE_MIB_MAX, COMPILE_MIB_MIN};
    use aevir_sandbox::limits;
    assert_eq!(
        limits::COMPILE_MEMORY_BYTES_MAX >> 20,
        u64::from(COMPILE_MIB_MAX)
    );
    assert!((COMPILE_MIB_MIN..=COMPILE_MIB_MAX).contains(&limits::COMPILE_MIB_MIN));
    assert_eq!(COMPILE_MIB_MAX % limits::COMPILE_MIB_STEP, 0);
}
