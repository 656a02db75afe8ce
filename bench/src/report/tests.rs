use super::*;

fn measurement(
    measure: Measure,
    better: Better,
    ours: f64,
    reference: f64,
    floor: f64,
    aim: f64,
) -> Measurement {
    Measurement {
        what: "lines".into(),
        unit: "a second",
        ours,
        reference: Reference { name: "sink".into(), value: Ok(reference) },
        goal: Goal { measure, better, floor, aim },
    }
}

#[test]
fn quantiles_are_nearest_ranks() {
    let values: Vec<f64> = (0..101).rev().map(f64::from).collect();
    assert_eq!(quantile(&values, 0.5), 50.0);
    assert_eq!(quantile(&values, 0.99), 99.0);
    assert_eq!(quantile(&values, 1.0), 100.0);
    assert_eq!(quantile(&[3.0], 0.99), 3.0);
    assert_eq!(quantile(&[], 0.5), 0.0);
}

#[test]
fn verdicts() {
    use Better::{Higher, Lower};
    let verdict = |measure, better, ours| measurement(measure, better, ours, 10.0, 2.0, 4.0).verdict();
    assert_eq!(verdict(Measure::Ours, Higher, 4.0), "aim");
    assert_eq!(verdict(Measure::Ours, Higher, 3.9), "floor");
    assert_eq!(verdict(Measure::Ours, Higher, 1.9), "**below the floor**");
    assert_eq!(verdict(Measure::Ratio, Higher, 40.0), "aim");
    assert_eq!(verdict(Measure::Ratio, Higher, 19.0), "**below the floor**");
    let lower = |ours| measurement(Measure::Ratio, Lower, ours, 1.0, 3.0, 2.0).verdict();
    assert_eq!([lower(1.9), lower(2.5), lower(3.1)], ["aim", "floor", "**below the floor**"]);
    let mut none = measurement(Measure::Ratio, Higher, 4.0, 1.0, 1.0, 2.0);
    none.reference.value = Err("not installed".into());
    assert_eq!(none.verdict(), "not compared");
}

#[test]
fn growth_is_judged_by_its_worst_cost() {
    let (what, unit, better) = ("x".to_owned(), "1/s", Better::Higher);
    let growth = Growth { what, unit, better, sizes: vec![1, 10, 100], values: vec![100.0, 110.0, 80.0] };
    assert_eq!(growth.worst(), 1.25);
    let memory = Growth { better: Better::Lower, ..growth.clone() };
    assert_eq!(memory.worst(), 1.1);
    assert!(Growth { values: vec![1.0, 0.0], ..growth }.worst().is_infinite());
}

#[test]
fn the_document_shows_every_figure_growth_and_failure() {
    let mut report = Report { failures: vec![("idle".into(), "no room".into())], ..Report::default() };
    report.measurements.push(measurement(Measure::Ours, Better::Higher, 12_345_678.0, 1.0, 5e6, 2e7));
    let (what, unit, better) = ("mqtt".to_owned(), "1/s", Better::Higher);
    report.growth.push(Growth { what, unit, better, sizes: vec![1, 10], values: vec![2.0, 1.0] });
    let text = markdown(&report, &Machine::default(), "cargo xtask bench", "benchmarks.svg");
    assert!(
        text.contains("| lines | 12.35 M | a second | sink | 1.00 | 12.35 M | 5.00 M | 20.00 M | floor |"),
        "{text}"
    );
    assert!(
        text.contains("| mqtt | 1, 10 | 2.00, 1.00 | 1/s | 1.00, 2.00 | 2.00 | **above 1.3** |"),
        "{text}"
    );
    assert!(text.contains("Not measured: idle: no room"), "{text}");
}

#[test]
fn numbers() {
    let shown = [2.5e6, 12_345.0, 999.4, 12.34, 1.234, 0.001_234, 0.0].map(number);
    assert_eq!(shown, ["2.50 M", "12.3 k", "999", "12.3", "1.23", "0.0012", "0.00"]);
}
