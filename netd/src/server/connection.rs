//! One client's connection: HTTP/1.1 by hyper, and an answer also for those who send only half a request. Knows no route.

use std::{future::poll_fn, pin::pin, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use netd_api::fault::{Code, Fault};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};
use tracing::debug;

use super::{answer::http_status, too_many_connections};
use crate::{drain::Drain, reconciler::Caller};

/// The head of a request may have so many bytes; ours have 200.
const MOST_HEAD: usize = 16 << 10;

/// Serves one client until it hangs up, is silent for too long, or the drain begins.
pub(super) async fn serve(stream: UnixStream, router: Router, patience: Duration, mut drain: Drain) {
    let caller = match stream.peer_cred() {
        Ok(peer) => Caller { uid: peer.uid(), pid: peer.pid().unwrap_or(0) },
        Err(why) => {
            debug!(%why, "a client was gone before it was served");
            return;
        }
    };
    let service = TowerToHyperService::new(router.layer(Extension(caller)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(MOST_HEAD);
    let mut connection = http.serve_connection(TokioIo::new(stream), service);
    let ended = {
        let mut draining = pin!(drain.begun());
        let mut drained = false;
        poll_fn(|context| {
            if !drained && draining.as_mut().poll(context).is_ready() {
                drained = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
            connection.poll_without_shutdown(context)
        })
        .await
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    if let Err(why) = &ended
        && (why.is_timeout() || why.is_incomplete_message())
        && !parts.read_buf.is_empty()
    {
        let fault = Fault::new(Code::BadRequest, "the request ended before its head did").hint("send the whole request at once");
        refuse(&mut stream, &fault, 408, patience).await;
    }
    let _gone = stream.shutdown().await;
}

/// Answers a client for which there is no place, whatever it asks.
pub(super) async fn turn_away(mut stream: UnixStream, patience: Duration) {
    let fault = too_many_connections();
    refuse(&mut stream, &fault, http_status(fault.code), patience).await;
    let _gone = stream.shutdown().await;
    // What it sends is read and forgotten, so that it gets the answer and no reset before it.
    let _unread = timeout(patience, tokio::io::copy(&mut stream.take(2 << 20), &mut tokio::io::sink())).await;
}

/// An answer written by hand, where hyper writes none.
async fn refuse(stream: &mut UnixStream, fault: &Fault, status: u16, patience: Duration) {
    let body = serde_json::to_string(fault).unwrap_or_default();
    let reason = hyper::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _gone = timeout(patience, stream.write_all(answer.as_bytes())).await;
}
