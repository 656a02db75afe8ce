//! All inputs of the corpus, and some mutations, through each target. A single test, because memory is measured for the
//! whole process.

use catchment_fuzz::{
    corpus,
    run::{StallWatch, Until, run},
    targets::TARGETS,
};

#[test]
fn every_corpus_input_and_some_mutations_pass() {
    let mut failures = Vec::new();
    for target in &TARGETS {
        assert!(!corpus::seeds(target).unwrap().is_empty(), "{} has no seeds", target.name);
        let report = run(target, &StallWatch::start(target), 1, Until::Inputs(1_500)).unwrap();
        assert!(report.inputs > 1_000 || report.failure.is_some());
        assert!(report.kept > 3 || report.failure.is_some(), "{}: all inputs behave alike", target.name);
        failures.extend(report.failure.map(|failure| (target.name, failure)));
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
