//! The gRPC methods of Arrow Flight: authorize the caller, and run what `Query.Aggregate` runs.

use std::sync::Arc;

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, Result as ActionResult, SchemaAsIpc, SchemaResult, Ticket,
    flight_service_server::FlightService,
};
use arrow_ipc::writer::IpcWriteOptions;
use catchment_columns::Layout;
use catchment_proto::wire::AggregateRequest;
use tonic::{Request, Response, Status, Streaming};

use super::{encoder, list, request, stream::Batches};
use crate::{
    access,
    query::{self, QueryError, QueryService, ResponseStream},
};

/// The service `arrow.flight.protocol.FlightService`.
pub(crate) struct ArrowFlight {
    queries: Arc<QueryService>,
}

impl ArrowFlight {
    /// Answers with what these queries answer.
    pub(crate) fn new(queries: Arc<QueryService>) -> Self {
        Self { queries }
    }

    /// The columns of a request.
    fn layout(&self, request: &AggregateRequest) -> Result<Layout, Status> {
        query::layout(request.clone()).map_err(|error| self.queries.runner.refuse(QueryError::Plan(error)))
    }
}

#[tonic::async_trait]
impl FlightService for ArrowFlight {
    type HandshakeStream = ResponseStream<HandshakeResponse>;
    type ListFlightsStream = ResponseStream<FlightInfo>;
    type DoGetStream = ResponseStream<FlightData>;
    type DoPutStream = ResponseStream<PutResult>;
    type DoExchangeStream = ResponseStream<FlightData>;
    type DoActionStream = ResponseStream<ActionResult>;
    type ListActionsStream = ResponseStream<ActionType>;

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = access::operator(&request)?;
        let request = request::of_ticket(&request.into_inner().ticket)?;
        let layout = self.layout(&request)?;
        let answer = self.queries.answer(&caller, request).await?.into_inner();
        Ok(Response::new(Box::pin(Batches::new(answer, layout))))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        access::operator(&request)?;
        let descriptor = request.into_inner();
        let request = request::of_descriptor(&descriptor)?;
        let schema = self.layout(&request)?.schema();
        request::info(descriptor, &request, &schema).map(Response::new)
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        access::operator(&request)?;
        let request = request::of_descriptor(&request.into_inner())?;
        let schema = self.layout(&request)?.schema();
        let options = IpcWriteOptions::default();
        SchemaResult::try_from(SchemaAsIpc::new(&schema, &options))
            .map(Response::new)
            .map_err(encoder::status)
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        let caller = access::operator(&request)?;
        let selector = String::from_utf8(request.into_inner().expression.into())
            .map_err(|_| Status::invalid_argument("the criteria is not text: send a selector, or nothing"))?;
        let schema = self.layout(&request::of_metric("", 0))?.schema();
        let store = Arc::clone(&self.queries.store);
        let work = move |sink| async move { list::execute(&*store, &selector, &schema, &sink).await };
        self.queries.runner.run(&caller, work).await
    }

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(refused(&request, "there is no handshake: the client certificate is the identity"))
    }

    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(refused(&request, "queries are not run in the background: call GetFlightInfo, then DoGet"))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        Err(refused(&request, "readings come from gateways alone: send them to a gateway"))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(refused(&request, "DoExchange is not supported: call DoGet"))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        Err(refused(&request, "there are no actions: call GetFlightInfo, then DoGet"))
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(refused(&request, "there are no actions: call ListFlights, GetFlightInfo and DoGet"))
    }
}

/// UNIMPLEMENTED with advice; other roles learn first that they may not call at all.
fn refused<T>(request: &Request<T>, advice: &'static str) -> Status {
    access::operator(request).err().unwrap_or_else(|| Status::unimplemented(advice))
}
