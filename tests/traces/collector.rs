//! A collector of a test's own: an HTTP server that decodes what it is sent, and answers as it is told.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A span that came.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) span: Span,
    pub(super) resource: Vec<KeyValue>,
    /// The request's head.
    pub(super) head: String,
    /// It was taken.
    taken: bool,
}

/// What is answered: the status, the media type and the body.
type Answer = (u16, &'static str, Vec<u8>);

/// What collectors answer in.
const PROTOBUF: &str = "application/x-protobuf";

/// See the module.
pub(super) struct Collector {
    pub(super) port: u16,
    sent: Arc<Mutex<Vec<Sent>>>,
    answer: Arc<Mutex<Answer>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// On this port; 0: any that is free.
    pub(super) fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(Mutex::new((200, PROTOBUF, Vec::new())));
        let (sent, end) = (Arc::<Mutex<Vec<Sent>>>::default(), Arc::<AtomicBool>::default());
        let of = (Arc::clone(&sent), Arc::clone(&answer), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of.2.load(Ordering::SeqCst) {
                    return;
                }
                serve(&stream.unwrap(), &of.0, &of.1);
            }
        });
        Self { port, sent, answer, end, thread: Some(thread) }
    }

    /// Answers with this status from now on.
    pub(super) fn answer(&self, status: u16) {
        *self.answer.lock().unwrap() = (status, PROTOBUF, Vec::new());
    }

    /// Answers as something that is no collector.
    pub(super) fn answer_as(&self, kind: &'static str, body: &str) {
        *self.answer.lock().unwrap() = (200, kind, body.as_bytes().to_vec());
    }

    /// Takes all but so many spans of what comes.
    pub(super) fn reject(&self, rejected_spans: i64, why: &str) {
        let partly = ExportTracePartialSuccess { rejected_spans, error_message: why.to_owned() };
        let body = ExportTraceServiceResponse { partial_success: Some(partly) }.encode_to_vec();
        *self.answer.lock().unwrap() = (200, PROTOBUF, body);
    }

    /// What was taken.
    pub(super) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().iter().filter(|one| one.taken).cloned().collect()
    }

    /// What came, whether it was taken or not.
    pub(super) fn tried(&self) -> Vec<Span> {
        self.sent.lock().unwrap().iter().map(|one| one.span.clone()).collect()
    }

    /// Spans that came and were not taken.
    pub(super) fn refused(&self) -> usize {
        self.sent.lock().unwrap().iter().filter(|one| !one.taken).count()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn serve(stream: &TcpStream, sent: &Mutex<Vec<Sent>>, answer: &Mutex<Answer>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap() > 2 {}
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    let (status, kind, said) = answer.lock().unwrap().clone();
    for resource in request.resource_spans {
        let of = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let one = Sent { span, resource: of.clone(), head: head.clone(), taken: status == 200 && kind == PROTOBUF };
            sent.lock().unwrap().push(one);
        }
    }
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        said.len()
    )
    .unwrap();
    stream.write_all(&said).unwrap();
}

/// An attribute that is a text.
pub(super) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match attributes.iter().find(|pair| pair.key == key)?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}
