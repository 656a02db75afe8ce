//! What a caller asks for: the bytes of a request, or the name of a metric.

use arrow_flight::{
    FlightDescriptor, FlightEndpoint, FlightInfo, Ticket, error::FlightError,
    flight_descriptor::DescriptorType,
};
use arrow_schema::Schema;
use catchment_proto::wire::AggregateRequest;
use prost::Message as _;
use tonic::Status;

use crate::{clock, selector::METRIC_LABEL};

/// Width of the points of a flight that is named by its metric, milliseconds.
const METRIC_STEP_MS: i64 = 3_600_000;
/// Number of its points, at most.
const METRIC_POINTS: i64 = 24;

/// The request in a ticket. Points come as columns, whatever it says.
///
/// # Errors
/// The bytes are not a request.
pub(super) fn of_ticket(ticket: &[u8]) -> Result<AggregateRequest, Status> {
    decoded(ticket, "the ticket")
}

/// The request that a descriptor describes.
///
/// # Errors
/// The bytes are not a request, or the path is not one metric.
pub(super) fn of_descriptor(descriptor: &FlightDescriptor) -> Result<AggregateRequest, Status> {
    match descriptor.r#type() {
        DescriptorType::Cmd => decoded(&descriptor.cmd, "the descriptor's command"),
        DescriptorType::Path => match descriptor.path.as_slice() {
            [metric] => Ok(of_metric(metric, clock::now_ms())),
            _ => Err(Status::invalid_argument(
                "a path is the name of one metric, as ListFlights gives it; for anything else send an encoded \
                 catchment.v1.AggregateRequest as the command",
            )),
        },
        DescriptorType::Unknown => Err(Status::invalid_argument(
            "the descriptor has no type: send a command, an encoded catchment.v1.AggregateRequest, or the path of a \
             metric",
        )),
    }
}

fn decoded(bytes: &[u8], what: &str) -> Result<AggregateRequest, Status> {
    let request = AggregateRequest::decode(bytes).map_err(|error| {
        Status::invalid_argument(format!("{what} is not an encoded catchment.v1.AggregateRequest: {error}"))
    })?;
    Ok(AggregateRequest { columns: true, ..request })
}

/// All series of a metric over the last day, by the hour. The gateway is no part of a series' identity: a fail-over would
/// split it.
pub(super) fn of_metric(metric: &str, now_ms: i64) -> AggregateRequest {
    let hour_ms = now_ms.div_euclid(METRIC_STEP_MS) * METRIC_STEP_MS;
    AggregateRequest {
        // As Rust writes a string, so does PromQL.
        selector: format!("{{{METRIC_LABEL}={metric:?}}}"),
        from_ms: hour_ms - (METRIC_POINTS - 1) * METRIC_STEP_MS,
        to_ms: hour_ms + METRIC_STEP_MS,
        step_ms: METRIC_STEP_MS,
        without: vec!["gateway".to_owned(), METRIC_LABEL.to_owned()],
        columns: true,
        ..AggregateRequest::default()
    }
}

/// What there is to know of a request's answer before it is asked: its schema, and the ticket that fetches it here.
///
/// # Errors
/// Never but for a defect.
pub(super) fn info(
    descriptor: FlightDescriptor,
    request: &AggregateRequest,
    schema: &Schema,
) -> Result<FlightInfo, Status> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(request.encode_to_vec()));
    let info =
        FlightInfo::new().try_with_schema(schema).map_err(|error| Status::from(FlightError::from(error)))?;
    Ok(info.with_descriptor(descriptor).with_endpoint(endpoint).with_ordered(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::Selector;

    #[test]
    fn a_request_is_in_a_command_and_a_metric_in_a_path() {
        let request = AggregateRequest { selector: "m".into(), from_ms: 5, ..Default::default() };
        let of = of_descriptor(&FlightDescriptor::new_cmd(request.encode_to_vec())).unwrap();
        assert_eq!(of, AggregateRequest { columns: true, ..request });
        let of = of_descriptor(&FlightDescriptor::new_path(vec!["m".into()])).unwrap();
        assert_eq!((of.selector.as_str(), of.to_ms - of.from_ms), (r#"{__name__="m"}"#, 86_400_000));
        for bad in [
            FlightDescriptor::new_path(Vec::new()),
            FlightDescriptor::new_path(vec!["a".into(), "b".into()]),
            FlightDescriptor::new_cmd(vec![0xff]),
            FlightDescriptor::default(),
        ] {
            assert_eq!(of_descriptor(&bad).unwrap_err().code(), tonic::Code::InvalidArgument, "{bad:?}");
        }
    }

    #[test]
    fn any_metric_is_selected_by_its_name() {
        for metric in ["temperature", "on", "a\"b\\c", "é"] {
            let selector = Selector::parse(&of_metric(metric, 0).selector).unwrap();
            assert!(selector.matches_with(|label| if label == "__name__" { metric } else { "" }), "{metric}");
        }
        let of = of_metric("m", 7_199_999);
        assert_eq!((of.from_ms, of.to_ms), (7_200_000 - 86_400_000, 7_200_000));
    }
}
