//! Connections: HTTP/1 with limits, ended in order. Plain questions are `plain`'s, the rest is hyper's. The root calls [`serve`] once for each listener.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::plain::{self, Desk};
use super::target::Lenient;
use super::{Context, router};
use crate::seats::Seats;
use crate::tasks::Tasks;

/// Time for a request's head, and for an idle connection. Longer than clients keep theirs in a pool.
const HEAD_TIME: Duration = Duration::from_secs(120);
/// Bytes of a request's head.
const HEAD_SIZE: usize = 256 * 1024;
/// After the end was asked for, how long answers under way may take.
const END_TIME: Duration = Duration::from_secs(2);
/// How long to rest when no connection can be accepted (no descriptor left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers on `listener` until the group of `tasks` ends.
pub async fn serve(listener: TcpListener, context: Arc<Context>, tasks: Tasks) {
    let seats = Seats::new(context.max_conns_per_client);
    let stop = tasks.token();
    let desk = Desk { context, companies: Arc::default(), stop: stop.clone(), head_time: HEAD_TIME };
    let desk = Arc::new(desk);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                ::metrics::counter!("quorate.http.accept_failed").increment(1);
                tracing::warn!(target: "agent.http", error = %error, "cannot accept a connection, pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(seat) = seats.take(peer.ip()) else {
            ::metrics::counter!("quorate.http.over_client_limit").increment(1);
            tracing::debug!(target: "agent.http", from = %peer, "connection closed, its address has too many");
            continue;
        };
        let desk = Arc::clone(&desk);
        // In a box: what a task is given it holds twice.
        let connection = Box::pin(async move {
            connection(stream, peer, &desk).await;
            drop(seat);
        });
        tasks.spawn("http connection", connection);
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, desk: &Desk) {
    // Small answers must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let stream = Arc::new(stream);
    let plain = tokio::select! {
        plain = plain::answer(&stream, peer, desk) => plain,
        () = time_up(&desk.stop) => return,
    };
    match plain {
        Ok(Some(read)) => {
            // Who wrote to it for another has let go of it.
            let Some(stream) = Arc::into_inner(stream) else { return };
            let (context, stop) = (Arc::clone(&desk.context), desk.stop.clone());
            Box::pin(others(Lenient::after(read, stream), peer, context, stop)).await;
        }
        Ok(None) => {}
        Err(error) => tracing::trace!(target: "agent.http", from = %peer, error = %error, "connection ended"),
    }
}

async fn time_up(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(END_TIME).await;
}

/// The requests that are not plain, and those after them.
async fn others(stream: Lenient<TcpStream>, peer: SocketAddr, context: Arc<Context>, stop: CancellationToken) {
    let calls = stop.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answer = Box::pin(router::answer(Arc::clone(&context), request.map(Body::new), peer, calls.clone(), None));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_SIZE).title_case_headers(true);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(END_TIME, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::trace!(target: "agent.http", from = %peer, error = %error, "connection ended");
    }
}
