//! What a proof says of what nobody saw.

use super::*;

#[test]
fn what_could_be_seen_in_part_is_done_and_never_verified_and_says_why() {
    let mut stage =
        stage(World { unseen: true, ..World::default() }, playbook_of(vec![acts("kill", &[], "process.kill")]));
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    let records = stage.journal.read(&StreamId::run(&stage.runs()[0]), 1).unwrap();
    let proofs: Vec<_> = records
        .iter()
        .filter_map(|r| if let Body::StepFinished(f) = &r.body { Some((f.outcome, f.proof.as_str())) } else { None })
        .collect();
    let proof = "the world was asked, and not all of it was seen: nobody saw whether it is enforced";
    assert_eq!(proofs, [(Outcome::Done, proof)]);
}

#[test]
fn a_proof_says_what_was_done_beside_and_nobody_saw() {
    let mut stage =
        stage(World { dark: true, ..World::default() }, playbook_of(vec![acts("kill", &[], "process.kill")]));
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    let records = stage.journal.read(&StreamId::run(&stage.runs()[0]), 1).unwrap();
    let of = |record: &quell_model::record::Record| match &record.body {
        Body::StepFinished(finished) => Some((finished.outcome, finished.proof.clone())),
        _ => None,
    };
    let proof = "the world was asked afterwards, and it is so; nobody saw what it did beside";
    assert_eq!(records.iter().find_map(of), Some((Outcome::Verified, proof.to_owned())));
}
