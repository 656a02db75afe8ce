use proptest::prelude::*;

use super::*;
use crate::decode::fixture::{Fixture, NOW_MS};
use Reason::*;

fn decode(fixture: &mut Fixture, line: &[u8], precision: Precision) -> Decoded {
    let Fixture { table, rules, limits, intake, .. } = fixture;
    decode_line(line, precision, 3, table, rules, limits, intake)
}

/// Line, readings, refusals.
type Case = (&'static str, &'static [&'static str], &'static [(Reason, u32)]);

const READINGS: &[Case] = &[
    (
        "env,room=3 temperature=21.5,humidity=40i 1700000000001000000",
        &["env_temperature{room=3}=21.5@1.0", "env_humidity{room=3}=40.0@1.0"],
        &[],
    ),
    (
        "m a=1,b=-2i,c=3u,d=+4.5e1,e=.5,f=5.,g=1E-2",
        &["m_a=1.0", "m_b=-2.0", "m_c=3.0", "m_d=45.0", "m_e=0.5", "m_f=5.0", "m_g=0.01"],
        &[],
    ),
    (
        "m a=t,b=T,c=true,d=True,e=TRUE,f=f,g=F,h=false,i=False,j=FALSE",
        &[
            "m_a=1.0/true",
            "m_b=1.0/true",
            "m_c=1.0/true",
            "m_d=1.0/true",
            "m_e=1.0/true",
            "m_f=0.0/false",
            "m_g=0.0/false",
            "m_h=0.0/false",
            "m_i=0.0/false",
            "m_j=0.0/false",
        ],
        &[],
    ),
    // White space.
    ("  m,k=v   a=1,b=2   1700000000000000000 \r", &["m_a{k=v}=1.0", "m_b{k=v}=2.0"], &[]),
    // Names are made identifiers.
    (
        "disk.io,host-name=x read-bytes=1,größe=2",
        &["disk_io_read_bytes{host_name=x}=1.0", "disk_io_gr__e{host_name=x}=2.0"],
        &[],
    ),
    ("1wire 2nd=3", &["_1wire_2nd=3.0"], &[]),
    ("m\\ x\\,y,t\\=1=a\\ b\\,c\\=d\\e f\\ g\\=h\\,=1", &["m_x_y_f_g_h_{t_1=a b,c=d\\e}=1.0"], &[]),
    // A quote or a `=` is a character where it delimits nothing.
    ("a\"b=c,t=\"x\" f=1", &["a_b_c_f{t=\"x\"}=1.0"], &[]),
    // Fields are refused one by one.
    (
        "m s=\"a, b=c \\\" \\\\\",a=1,t=\"\",u=\"\n\" 1700000000000000000",
        &["m_s=a, b=c \" \\", "m_a=1.0"],
        &[(BadState, 1), (BadState, 1)],
    ),
    (
        "m a=1e999,b=nan,c=inf,d=9223372036854775808i,e=18446744073709551616u,f=0x10,g=-1u,h=1ii,i=i,j=1",
        &["m_j=1.0"],
        &[
            (NotANumber, 1),
            (NotANumber, 1),
            (NotANumber, 1),
            (NotANumber, 1),
            (NotANumber, 1),
            (NotANumber, 1),
            (NotANumber, 1),
            (NotANumber, 1),
            (NotANumber, 1),
        ],
    ),
    ("m a=1,a=2,b-c=3,b_c=4", &["m_a=1.0", "m_b_c=3.0"], &[(Malformed, 1), (Malformed, 1)]),
    // What the fields have in common.
    ("m,site=x a=1,b=2", &[], &[(BadLabel, 2)]),
    ("m,__x=x a=1", &[], &[(BadLabel, 1)]),
    ("m,k=1,k=2 a=1", &[], &[(BadLabel, 1)]),
    ("m a=1,b=2 1600000000000000000", &[], &[(TooOld, 2)]),
    ("m a=1 -99999999999999999999999", &[], &[(TooOld, 1)]),
    ("m a=1 1700000099000000000", &[], &[(TooFarAhead, 1)]),
    ("m a=1 99999999999999999999999", &[], &[(TooFarAhead, 1)]),
];

#[test]
fn readings_are_taken_and_refused_one_by_one() {
    for (line, readings, refusals) in READINGS {
        let mut fixture = Fixture::new();
        assert_eq!(decode(&mut fixture, line.as_bytes(), Precision::Nanoseconds), Decoded::Message, "{line}");
        fixture.check();
        assert_eq!(fixture.messages(), [(None, 3, readings.len())], "{line}");
        assert_eq!(fixture.readings(), *readings, "{line}");
        assert_eq!(fixture.refusals(), *refusals, "{line}");
    }
}

#[test]
fn a_line_against_the_grammar_is_refused_whole() {
    let cases: &[&[u8]] = &[
        b"m",
        b"m ",
        b"m a",
        b"m a=",
        b"m a=1,",
        b"m a=1,b",
        b"m a=1,b=",
        b"m =1",
        b",t=1 a=1",
        b"m, a=1",
        b"m,t a=1",
        b"m,t= a=1",
        b"m,=x a=1",
        b"m,t=x=y a=1",
        b"m a=1 b=2",
        b"m a=1 12x",
        b"m a=1 1.5",
        b"m a=1 1 2",
        b"m a=\"x",
        b"m a=\"x\\\"",
        b"m a=\"x\"y,b=1",
        b"m a,b=1",
        b"m a\xff=1",
        b"=",
        b",",
        b"m a=1 -",
        b"m\\",
        b"m a\\=1",
    ];
    for line in cases {
        let text = String::from_utf8_lossy(line);
        let mut fixture = Fixture::new();
        assert_eq!(decode(&mut fixture, line, Precision::Nanoseconds), Decoded::Refused, "{text}");
        assert!(fixture.readings().is_empty() && fixture.messages().is_empty(), "{text}");
        assert_eq!(fixture.refusals(), [(Malformed, 1)], "{text}");
    }
    let mut fixture = Fixture::new();
    fixture.limits.message_bytes_max = 4;
    assert_eq!(decode(&mut fixture, b"m a=1", Precision::Nanoseconds), Decoded::Refused);
    assert_eq!(fixture.refusals(), [(TooLong, 1)]);
}

#[test]
fn times_have_the_precision_asked_for() {
    for (name, time) in
        [("ns", NOW_MS * 1_000_000), ("us", NOW_MS * 1000), ("ms", NOW_MS), ("s", NOW_MS / 1000)]
    {
        let mut fixture = Fixture::new();
        decode(&mut fixture, format!("m a=1 {time}").as_bytes(), name.parse().unwrap());
        assert_eq!(fixture.readings(), ["m_a=1.0"], "{name}");
    }
    assert_eq!("h".parse::<Precision>().unwrap_err().to_string(), "precision is ns, us, ms or s, not \"h\"");
    let mut fixture = Fixture::new();
    decode(&mut fixture, format!("m a=1 {}", i64::MAX).as_bytes(), Precision::Seconds);
    decode(&mut fixture, format!("m a=1 {}", i64::MIN).as_bytes(), Precision::Seconds);
    assert_eq!(fixture.refusals(), [(TooFarAhead, 1), (TooOld, 1)]);
}

#[test]
fn a_payload_is_one_message() {
    let mut fixture = Fixture::new();
    let payload = b"# comment\nm a=1\n\nnonsense\nm b=\"x\ny\",c=2 \nm a=3";
    let Fixture { table, rules, limits, intake, .. } = &mut fixture;
    let decoded =
        super::decode(payload, Precision::default(), &mut Sink::new(intake, table, rules, limits, 9));
    assert_eq!(decoded, Decoded::Message);
    assert_eq!(fixture.messages(), [(None, 9, 3)]);
    // The same series twice in a payload is two readings: a line each.
    assert_eq!(fixture.readings(), ["m_a=1.0", "m_c=2.0", "m_a=3.0"]);
    assert_eq!(fixture.refusals(), [(Malformed, 1), (BadState, 1)]);
}

#[test]
fn hostile_lines_end_soon() {
    let long = "x".repeat(100_000);
    let fields: Vec<_> = (0..20_000).map(|n| format!("f{n}=1")).collect();
    let cases = [
        (format!("{long} {long}=1,b=1,{long}=1"), 0, 3),
        (format!("m{} a=1", ",k=v".repeat(50_000)), 0, 1),
        (format!("m,k={long} a=1"), 0, 1),
        (format!("m a={}", "9".repeat(200_000)), 0, 1),
        (format!("m a=1 {}", "9".repeat(200_000)), 0, 1),
        (format!("m {}", fields.join(",")), 10_000, 10_000),
        ("\\".repeat(250_000), 0, 1),
        ("é,=\\\"".repeat(40_000), 0, 1),
    ];
    for (line, taken, refused) in cases {
        let mut fixture = Fixture::new();
        fixture.limits.message_bytes_max = 1 << 20;
        decode(&mut fixture, line.as_bytes(), Precision::Nanoseconds);
        assert_eq!(fixture.readings().len(), taken);
        assert_eq!(fixture.refusals().iter().map(|refusal| refusal.1).sum::<u32>(), refused);
    }
}

/// Text that is line protocol, or nearly.
fn nearly_lines() -> impl Strategy<Value = String> {
    let words = [
        "m",
        " ",
        " ",
        ",",
        "=",
        "a=1",
        "b=2i",
        "c=\"x",
        "\"",
        "\\",
        "\n",
        "#",
        "t",
        "1700000000000000000",
        "é",
        "-",
        "m,k=v f=1 ",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..30).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text in nearly_lines()) {
        for line in [&bytes, text.as_bytes()] {
            let mut fixture = Fixture::new();
            let decoded = decode(&mut fixture, line, Precision::Nanoseconds);
            fixture.check();
            match decoded {
                Decoded::Message => prop_assert_eq!(fixture.intake.messages.len(), 1),
                _ => prop_assert!(fixture.intake.messages.is_empty() && fixture.intake.refusals.len() == 1),
            }
        }
    }

    #[test]
    fn what_is_written_is_read(
        // A backslash before a delimiter cannot be written outside of quotes.
        tags in prop::collection::btree_map("[a-z]{1,3}", "[ -\\[\\]-~é]{0,6}[!-\\[\\]-~]", 0..4),
        text in "[ -~\n]{0,8}",
        value in any::<f64>().prop_filter("finite", |v| v.is_finite()),
    ) {
        let escaped = |text: &str| text.replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ ");
        let tags_text: String = tags.iter().map(|(k, v)| format!(",{k}={}", escaped(v))).collect();
        let string = text.replace('\\', "\\\\").replace('"', "\\\"");
        let line = format!("m{tags_text} s=\"{string}\",v={value:?} 1700000000000000000\n");
        let cut = lines::tests::split_lines(Lines::line_protocol(1000), line.as_bytes(), 7);
        prop_assert_eq!(&cut, &[line.trim_end_matches('\n')]);
        let mut fixture = Fixture::new();
        decode(&mut fixture, cut[0].as_bytes(), Precision::Nanoseconds);
        let taken = crate::intake::check_state(&text).is_ok();
        prop_assert_eq!(fixture.intake.states.get(0), taken.then_some(&*text));
        prop_assert_eq!(fixture.intake.readings[usize::from(taken)].value, value);
        let labels = &fixture.intake.fresh[0].2;
        let pairs: Vec<_> = labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        prop_assert_eq!(pairs, tags.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(fixture.refusals(), if taken { vec![] } else { vec![(BadState, 1)] });
    }
}
