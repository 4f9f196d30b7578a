//! Receipts: their text, and what they prove.

use super::{World, entry, key};
use crate::tlog::{Publisher, TlogProof, TlogProofError};

async fn receipt() -> (World, TlogProof) {
    let world = World::sqlite();
    world.grow(300).await;
    let mut publisher = Publisher::open(world.config().await).await.unwrap();
    let checkpoint = publisher.publish(super::LEADER).await.unwrap();
    let reader = publisher.reader();
    let proof = TlogProof {
        extra: None,
        index: 17,
        hashes: reader.inclusion_proof(17, 300, 300).await.unwrap(),
        checkpoint: checkpoint.note().to_owned(),
    };
    (world, proof)
}

#[tokio::test]
async fn a_receipt_is_checkable_alone() {
    let (world, proof) = receipt().await;
    let text = proof.to_string();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
    assert_eq!(lines.next(), Some("index 17"));
    assert_eq!(
        lines.clone().position(str::is_empty),
        Some(proof.hashes.len())
    );
    assert_eq!(lines.nth(proof.hashes.len() + 1), Some("example.com/log"));
    let read: TlogProof = text.parse().unwrap();
    assert_eq!(read, proof);
    let key = world.key.verifier();
    let checkpoint = read.verify(&entry("main", 17), key).unwrap();
    assert_eq!(checkpoint.size, 300);
    let with_extra = TlogProof {
        extra: Some(b"more".to_vec()),
        ..proof
    };
    assert_eq!(with_extra.to_string().parse(), Ok(with_extra));
}

#[tokio::test]
async fn a_receipt_for_something_else_is_refused() {
    let (world, proof) = receipt().await;
    let ours = world.key.verifier();
    let right = entry("main", 17);
    let mismatch = |proof: &TlogProof, entry: &[u8]| {
        matches!(proof.verify(entry, ours), Err(TlogProofError::Proof(_)))
    };
    assert!(mismatch(&proof, &entry("main", 18)));
    assert!(mismatch(
        &TlogProof {
            index: 18,
            ..proof.clone()
        },
        &right
    ));
    assert!(mismatch(
        &TlogProof {
            index: 300,
            ..proof.clone()
        },
        &right
    ));
    assert!(mismatch(
        &TlogProof {
            hashes: proof.hashes[1..].to_vec(),
            ..proof.clone()
        },
        &right
    ));
    let foreign = proof.verify(&right, key(9).verifier());
    assert!(matches!(foreign, Err(TlogProofError::Checkpoint(_))));
    let forged = proof.checkpoint.replace("\n300\n", "\n301\n");
    let forged = TlogProof {
        checkpoint: forged,
        ..proof.clone()
    };
    assert!(matches!(
        forged.verify(&right, ours),
        Err(TlogProofError::Checkpoint(_))
    ));
}

#[test]
fn what_is_no_receipt_is_refused() {
    let hash = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    let good = format!("c2sp.org/tlog-proof@v1\nindex 0\n{hash}\n\ncheckpoint");
    assert!(good.parse::<TlogProof>().is_ok());
    for (bad, line) in [
        (String::new(), 1),
        (good.replace("@v1", "@v2"), 1),
        (good.replace("index 0", "index 00"), 2),
        (good.replace("index 0\n", ""), 2),
        (good.replace("index 0", "extra !\nindex 0"), 2),
        (good.replace(hash, &hash[1..]), 3),
        (good.replace(hash, "AAAA"), 3),
        (good.replace(hash, &[hash; 66].join("\n")), 68),
    ] {
        assert_eq!(
            bad.parse::<TlogProof>(),
            Err(TlogProofError::Malformed { line }),
            "{bad}"
        );
    }
}
