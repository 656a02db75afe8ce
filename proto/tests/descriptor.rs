//! The .proto files against the descriptor of the last release, `catchment.v1.binpb`: additions pass, and whatever an
//! older peer would misread is a finding.
//!
//! `UPDATE_DESCRIPTOR=1 cargo test -p catchment-proto --test descriptor` renews the stored descriptor.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
};

use catchment_proto::wire::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, OneofDescriptorProto,
    ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

/// All that a descriptor set defines, by full name.
#[derive(Default)]
struct Definitions<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
    services: BTreeMap<String, &'a ServiceDescriptorProto>,
}

impl<'a> Definitions<'a> {
    fn of(set: &'a FileDescriptorSet) -> Self {
        let mut definitions = Self::default();
        for file in &set.file {
            let package = file.package();
            file.message_type.iter().for_each(|message| definitions.message(package, message));
            file.enum_type.iter().for_each(|enumeration| definitions.enumeration(package, enumeration));
            let services =
                file.service.iter().map(|service| (format!("{package}.{}", service.name()), service));
            definitions.services.extend(services);
        }
        definitions
    }

    fn message(&mut self, scope: &str, message: &'a DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        message.nested_type.iter().for_each(|nested| self.message(&name, nested));
        message.enum_type.iter().for_each(|nested| self.enumeration(&name, nested));
        self.messages.insert(name, message);
    }

    fn enumeration(&mut self, scope: &str, enumeration: &'a EnumDescriptorProto) {
        self.enums.insert(format!("{scope}.{}", enumeration.name()), enumeration);
    }
}

/// What of a field decides how its bytes are read.
fn meaning(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let oneof = field.oneof_index.and_then(|index| message.oneof_decl.get(index as usize));
    let oneof = oneof.map_or("", OneofDescriptorProto::name);
    let (label, kind): (Label, Type) = (field.label(), field.r#type());
    format!("{label:?} {kind:?} {} {} in {oneof:?}", field.type_name(), field.proto3_optional())
}

/// Numbers `from` to `to`, both included, that must not be used again.
type Reserved = BTreeSet<(i32, i32)>;

fn reserved(message: &DescriptorProto) -> Reserved {
    // The end of a message's range is excluded.
    message.reserved_range.iter().map(|range| (range.start(), range.end() - 1)).collect()
}

fn reserved_values(enumeration: &EnumDescriptorProto) -> Reserved {
    enumeration.reserved_range.iter().map(|range| (range.start(), range.end())).collect()
}

fn covers(ranges: &Reserved, (from, to): (i32, i32)) -> bool {
    (from..=to).all(|number| ranges.iter().any(|range| (range.0..=range.1).contains(&number)))
}

/// Findings on numbers and names that are reserved no more.
fn reservations(place: &str, old: (&Reserved, &[String]), new: (&Reserved, &[String])) -> Vec<String> {
    let numbers = old.0.iter().filter(|range| !covers(new.0, **range));
    let numbers = numbers.map(|range| format!("{place}: {range:?} is no longer reserved"));
    let names = old.1.iter().filter(|name| !new.1.contains(name));
    numbers.chain(names.map(|name| format!("{place}: {name} is no longer reserved"))).collect()
}

fn message(place: &str, old: &DescriptorProto, new: &DescriptorProto) -> Vec<String> {
    let now_reserved = reserved(new);
    let mut findings =
        reservations(place, (&reserved(old), &old.reserved_name), (&now_reserved, &new.reserved_name));
    for field in &old.field {
        let (number, name) = (field.number(), field.name());
        let Some(now) = new.field.iter().find(|field| field.number() == number) else {
            let is_reserved = covers(&now_reserved, (number, number))
                && new.reserved_name.iter().any(|reserved| reserved == name);
            if !is_reserved {
                findings.push(format!("{place}: field {number} {name} is gone: reserve number and name"));
            }
            continue;
        };
        if now.name() != name {
            findings.push(format!("{place}: field {number} was {name} and is {}", now.name()));
        }
        let (was, is) = (meaning(old, field), meaning(new, now));
        if was != is {
            findings.push(format!("{place}: field {number} {name} was {was} and is {is}"));
        }
    }
    findings
}

fn enumeration(place: &str, old: &EnumDescriptorProto, new: &EnumDescriptorProto) -> Vec<String> {
    let now_reserved = reserved_values(new);
    let mut findings =
        reservations(place, (&reserved_values(old), &old.reserved_name), (&now_reserved, &new.reserved_name));
    for value in &old.value {
        let (number, name) = (value.number(), value.name());
        let is_kept = new.value.iter().any(|now| now.number() == number && now.name() == name);
        let is_reserved = covers(&now_reserved, (number, number))
            && new.reserved_name.iter().any(|reserved| reserved == name)
            && !new.value.iter().any(|now| now.number() == number);
        if !is_kept && !is_reserved {
            findings.push(format!("{place}: value {number} {name} is gone: reserve number and name"));
        }
    }
    findings
}

fn service(place: &str, old: &ServiceDescriptorProto, new: &ServiceDescriptorProto) -> Vec<String> {
    let mut findings = Vec::new();
    for method in &old.method {
        let now = new.method.iter().find(|now| now.name() == method.name());
        let is_same = now.is_some_and(|now| {
            (now.input_type(), now.client_streaming()) == (method.input_type(), method.client_streaming())
                && (now.output_type(), now.server_streaming())
                    == (method.output_type(), method.server_streaming())
        });
        if !is_same {
            findings.push(format!(
                "{place}: method {} is gone or takes or returns something else",
                method.name()
            ));
        }
    }
    findings
}

/// What of `old` the descriptor `new` no longer has, or has with another meaning.
fn broken(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    fn each<T>(
        old: &BTreeMap<String, &T>,
        new: &BTreeMap<String, &T>,
        compare: fn(&str, &T, &T) -> Vec<String>,
    ) -> Vec<String> {
        let one = |(name, old): (&String, &&T)| match new.get(name) {
            Some(new) => compare(name, old, new),
            None => vec![format!("{name} is gone")],
        };
        old.iter().flat_map(one).collect()
    }
    let (old, new) = (Definitions::of(old), Definitions::of(new));
    let mut findings = each(&old.messages, &new.messages, message);
    findings.extend(each(&old.enums, &new.enums, enumeration));
    findings.extend(each(&old.services, &new.services, service));
    findings
}

/// The descriptor of the .proto files as they are, without comments and places in the source.
fn present() -> FileDescriptorSet {
    let mut set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    set
}

fn stored_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("catchment.v1.binpb")
}

#[test]
fn nothing_that_the_last_release_sends_or_reads_has_changed() {
    if env::var_os("UPDATE_DESCRIPTOR").is_some() {
        fs::write(stored_path(), present().encode_to_vec()).unwrap();
        eprintln!("renewed {}", stored_path().display());
    }
    let stored = FileDescriptorSet::decode(&*fs::read(stored_path()).unwrap()).unwrap();
    assert!(Definitions::of(&stored).services.contains_key("catchment.v1.Ingest"));
    let findings = broken(&stored, &present());
    assert!(
        findings.is_empty(),
        "peers of the last release would misread this:\n{}\nIf that is meant, see CONTRIBUTING.md, A message or field",
        findings.join("\n")
    );
}

/// The present descriptor with one change to a message.
fn changed(name: &str, change: impl FnOnce(&mut DescriptorProto)) -> FileDescriptorSet {
    let mut set = present();
    let messages = set.file.iter_mut().flat_map(|file| &mut file.message_type);
    change(messages.into_iter().find(|message| message.name() == name).unwrap());
    set
}

fn field<'a>(message: &'a mut DescriptorProto, name: &str) -> &'a mut FieldDescriptorProto {
    message.field.iter_mut().find(|field| field.name() == name).unwrap()
}

#[test]
fn additions_pass() {
    let added = changed("Ack", |message| {
        let more =
            FieldDescriptorProto { name: Some("more".into()), number: Some(9), ..message.field[0].clone() };
        message.field.push(more);
    });
    assert_eq!(broken(&present(), &added), [""; 0]);
    assert_eq!(broken(&added, &present()).len(), 1, "and then it must stay");
}

#[test]
fn each_change_that_an_older_peer_would_misread_is_found() {
    let findings = |name: &str, change: &dyn Fn(&mut DescriptorProto)| {
        broken(&present(), &changed(name, change)).join("; ")
    };
    let removed = findings("Start", &|message| message.field.retain(|field| field.name() != "run"));
    assert_eq!(removed, "catchment.v1.Start: field 5 run is gone: reserve number and name");
    for (message, name, change) in [
        ("Start", "run", (|field| field.number = Some(77)) as fn(&mut FieldDescriptorProto)),
        ("Start", "run", |field| field.name = Some("course".into())),
        ("Start", "run", |field| field.set_type(Type::Int64)),
        ("Start", "shards", |field| field.set_label(Label::Repeated)),
        ("Resume", "series", |field| field.type_name = Some(".catchment.v1.BatchAck".into())),
        ("DeliverRequest", "batch", |field| field.oneof_index = None),
        ("Value", "number", |field| (field.proto3_optional, field.oneof_index) = (None, None)),
    ] {
        let found = findings(message, &|message| change(field(message, name)));
        assert!(found.starts_with(&format!("catchment.v1.{message}: field ")), "{message}.{name}: {found:?}");
    }
    let freed = findings("Batch", &|message| message.reserved_range.clear());
    assert_eq!(freed, "catchment.v1.Batch: (11, 11) is no longer reserved");
    let renamed = findings("Start", &|message| message.name = Some("Begin".into()));
    assert_eq!(renamed, "catchment.v1.Start is gone");
}

#[test]
fn a_field_may_go_when_its_number_and_name_are_reserved() {
    let gone = changed("Start", |message| {
        message.field.retain(|field| field.name() != "version");
        message.reserved_name.push("version".into());
        let range = prost_types::descriptor_proto::ReservedRange { start: Some(4), end: Some(5) };
        message.reserved_range.push(range);
    });
    assert_eq!(broken(&present(), &gone), [""; 0]);
}

#[test]
fn methods_keep_their_messages_and_streams() {
    for change in [
        (|method| method.name = Some("Send".into())) as fn(&mut prost_types::MethodDescriptorProto),
        (|method| method.client_streaming = Some(false)),
        (|method| method.output_type = Some(".catchment.v1.Resume".into())),
    ] {
        let mut set = present();
        let services = set.file.iter_mut().flat_map(|file| &mut file.service);
        let ingest = services.into_iter().find(|service| service.name() == "Ingest").unwrap();
        change(&mut ingest.method[0]);
        let findings = broken(&present(), &set);
        assert_eq!(
            findings,
            ["catchment.v1.Ingest: method Deliver is gone or takes or returns something else"]
        );
    }
}
