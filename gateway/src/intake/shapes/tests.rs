use catchment_partial::Timestamp;

use super::*;

#[test]
fn names_are_found_in_their_order_and_out_of_it() {
    let mut shapes = Shapes::new(10);
    let none = Labels::none();
    let shape = shapes.add(Kind::Json, &none, b"x").unwrap();
    for _ in 0..2 {
        let mut cursor = shapes.cursor(shape);
        for (at, name) in ["a", "b", "c"].iter().enumerate() {
            shapes.learn(&mut cursor, name.as_bytes(), 7 + at as u32);
        }
        // A series has one name in a shape.
        shapes.learn(&mut cursor, b"other", 8);
        shapes.learn(&mut cursor, b"c", 9);
    }
    let mut cursor = shapes.cursor(shape);
    assert_eq!(cursor.expected(&shapes), Some((&b"a"[..], 7)));
    assert_eq!(cursor.find(&shapes, b"b"), Some(8));
    assert_eq!(cursor.expected(&shapes), Some((&b"c"[..], 9)));
    let readings = [8, 9].map(|series| Reading { series, time: Timestamp::MIN, value: 1.0 });
    assert!(cursor.is_new(&readings, 9), "not looked for while names come in order");
    assert_eq!(cursor.find(&shapes, b"a"), Some(7));
    assert!(cursor.is_new(&readings, 7));
    assert!(!cursor.is_new(&readings, 9));
    assert_eq!(cursor.find(&shapes, b"other"), None);
    shapes.finish(&cursor);
    assert_eq!(shapes.cursor(shape).expected(&shapes), Some((&b"b"[..], 8)));
}

#[test]
fn shapes_differ_by_kind_labels_and_text() {
    let mut shapes = Shapes::new(10);
    let (none, room) = (Labels::none(), Labels::new([("room", "3")]).unwrap());
    let mut all = Vec::new();
    for kind in [Kind::Json, Kind::LineProtocol, Kind::Frames] {
        for base in [&none, &room] {
            for raw in [&b""[..], b"x", b"y"] {
                assert_eq!(shapes.find(kind, base, raw), None);
                all.push((kind, base, raw, shapes.add(kind, base, raw).unwrap()));
            }
        }
    }
    for (kind, base, raw, shape) in all.iter().rev().chain(&all).chain(all.iter().step_by(5)) {
        assert_eq!(shapes.find(*kind, base, raw), Some(*shape));
        assert_eq!(shapes.raw(*shape), *raw);
        assert_eq!(shapes.last(*kind, base), Some(*shape));
    }
}

#[test]
fn memory_is_bounded() {
    let mut shapes = Shapes::new(1);
    let none = Labels::none();
    for at in 0..10_000_u32 {
        let text = format!("{at:0200}");
        let shape = shapes.add(Kind::Json, &none, text.as_bytes()).unwrap();
        let mut cursor = shapes.cursor(shape);
        shapes.learn(&mut cursor, text.as_bytes(), at);
        assert!(shapes.entries.len() < 60 && shapes.bytes <= 16 << 10, "{}", shapes.bytes);
        assert_eq!(shapes.places.len(), shapes.entries.len());
    }
    assert_eq!(shapes.add(Kind::Json, &none, &[b'x'; 2000]), None);
}
