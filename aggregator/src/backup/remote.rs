//! Asks a running aggregator for a backup, and writes what it streams.

use std::{error::Error, path::Path, time::Duration};

use catchment_certs::{
    ClientTls, ConnectError, FolderError, GrpcConnector, IdentityFolder, Role, TlsError, UrlError,
    channel::ALPN_GRPC, endpoint_uri,
};
use catchment_proto::wire::{
    BackupFile as WireFile, BackupRequest, BackupStart, backup_response::Kind,
    maintenance_client::MaintenanceClient,
};
use catchment_settings::text::one_line;
use prost::Message as _;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::{
    FILES_MAX, REQUEST_BYTES_MAX,
    target::{Done, Incoming, Target, TargetError},
};
use crate::store::{BackupFile, Contents};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a reply to a ping.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Flow-control windows: some chunks on their way.
const WINDOW: u32 = 4 << 20;
/// Room in a request for everything but the files.
const REQUEST_MARGIN: usize = 64 << 10;

/// Why a backup did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("--aggregator: {0}")]
    Url(#[from] UrlError),
    #[error("--identity: {0}")]
    Identity(#[from] FolderError),
    #[error("--identity: {0}")]
    Tls(#[from] TlsError),
    #[error("--aggregator {server}: {reason}")]
    Connect { server: String, reason: String },
    #[error(
        "{server} refuses {who}: {message}; issue an identity with `catchment-certs issue operator` and pass its folder with --identity"
    )]
    Role { server: String, who: String, message: String },
    #[error("{server}: this aggregator is of a version without backups: {message}")]
    Outdated { server: String, message: String },
    #[error("{server}: {message}")]
    Status { server: String, message: String },
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl RemoteError {
    /// Whether arguments must change before another attempt can succeed.
    pub(super) fn is_usage(&self) -> bool {
        match self {
            Self::Url(_) | Self::Identity(_) | Self::Tls(_) => true,
            Self::Target(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// Backs up an aggregator's store into a folder.
///
/// # Errors
/// See [`RemoteError`].
pub(super) async fn backup(
    server: &str,
    identity: &Path,
    target: Target,
    bytes_per_second_max: u64,
) -> Result<Done, RemoteError> {
    let uri = endpoint_uri(server)?;
    let folder = IdentityFolder::load_in_force(identity)?;
    let who = folder.peer().identity.to_string();
    let connector =
        GrpcConnector::new(ClientTls::new(&folder, &[ALPN_GRPC])?, Role::Aggregator, CONNECT_TIMEOUT);
    let endpoint = Endpoint::from(uri)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel
        .map_err(|error| RemoteError::Connect { server: server.to_owned(), reason: reason(&error) })?;
    let refused = |status: Status| refused(server, &who, &status);
    let request = BackupRequest { have: have(&target), bytes_per_second_max };
    receive(channel, request, target, refused).await
}

/// The files that need not be sent, as many as fit into a request.
fn have(target: &Target) -> Vec<WireFile> {
    let mut bytes = 0;
    let files = target.have().map(|file| WireFile {
        name: file.name.clone(),
        bytes: file.bytes,
        checksum: file.checksum,
    });
    files
        .take_while(|file| {
            bytes += file.encoded_len() + 8;
            bytes <= REQUEST_BYTES_MAX - REQUEST_MARGIN
        })
        .collect()
}

async fn receive(
    channel: Channel,
    request: BackupRequest,
    target: Target,
    refused: impl Fn(Status) -> RemoteError,
) -> Result<Done, RemoteError> {
    let mut client = MaintenanceClient::new(channel);
    let mut stream = client.backup(request).await.map_err(&refused)?.into_inner();
    let (mut listed, mut idle) = (Contents::default(), Some(target));
    let mut incoming: Option<Incoming> = None;
    while let Some(response) = stream.message().await.map_err(&refused)? {
        match response.kind {
            Some(Kind::Start(start)) if idle.is_some() => add(&mut listed, start)?,
            Some(Kind::Chunk(chunk)) => {
                let incoming = begun(&mut incoming, &mut idle, &mut listed)?;
                // A file that did not fit into the request is sent although it is there.
                if incoming.lacks(&chunk.name) {
                    incoming.write(&chunk.name, chunk.offset, &chunk.content)?;
                }
            }
            Some(Kind::End(_)) => {
                begun(&mut incoming, &mut idle, &mut listed)?;
                let Some(incoming) = incoming else { break };
                return Ok(incoming.finish()?);
            }
            _ => return Err(broken("the aggregator sent what this version does not know").into()),
        }
    }
    Err(broken("the aggregator ended the stream").into())
}

/// The backup that is being written; begins it once the list is whole.
fn begun<'a>(
    incoming: &'a mut Option<Incoming>,
    idle: &mut Option<Target>,
    listed: &mut Contents,
) -> Result<&'a mut Incoming, TargetError> {
    if let Some(target) = idle.take() {
        *incoming = Some(target.begin(std::mem::take(listed))?);
    }
    incoming.as_mut().ok_or_else(|| broken("nothing was begun"))
}

fn broken(what: &str) -> TargetError {
    TargetError::Content(what.to_owned())
}

/// Adds a message of the list.
fn add(listed: &mut Contents, start: BackupStart) -> Result<(), TargetError> {
    let BackupStart { format, files, taken_ms, version, store } = start;
    if listed.files.len() + files.len() > FILES_MAX {
        return Err(broken("the list of files is too long"));
    }
    listed.files.extend(files.into_iter().map(|file| BackupFile {
        name: file.name,
        bytes: file.bytes,
        checksum: file.checksum,
    }));
    (listed.format, listed.taken_ms, listed.store) = (format, taken_ms, store);
    listed.version = version;
    Ok(())
}

fn refused(server: &str, who: &str, status: &Status) -> RemoteError {
    let (server, message) = (server.to_owned(), one_line(status.message()));
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => {
            RemoteError::Role { server, who: who.to_owned(), message }
        }
        Code::Unimplemented => RemoteError::Outdated { server, message },
        _ => match status.source() {
            Some(source) => RemoteError::Connect { server, reason: reason(source) },
            None => RemoteError::Status { server, message },
        },
    }
}

/// The most specific cause of an error, in one line.
fn reason(error: &(dyn Error + 'static)) -> String {
    let (mut cause, mut last) = (Some(error), String::new());
    while let Some(error) = cause {
        last = one_line(&error.to_string());
        if error.is::<ConnectError>() {
            break;
        }
        cause = error.source();
    }
    last
}
