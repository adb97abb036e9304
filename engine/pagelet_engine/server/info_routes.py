"""What this server is and how it feels: models, probes, metrics, version, tokenizer access."""

from importlib.metadata import version

import orjson
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from pagelet_engine.errors import InvalidRequestError
from pagelet_engine.server.body import read_json
from pagelet_engine.server.errors import BadRequestError
from pagelet_engine.server.lifecycle import Phase
from pagelet_engine.server.openai_objects import Json
from pagelet_engine.server.openapi_document import document
from pagelet_engine.server.protocol import DetokenizeRequest, TokenizeRequest, rendering
from pagelet_engine.server.service import Service
from pagelet_engine.server.validation import check_model, check_token_ids, validate

router = APIRouter()

READ = ["GET", "HEAD"]
"""Methods of routes that only show: whoever asks without wanting the body is told the same."""


@router.api_route("/v1/models", methods=READ)
async def list_models(request: Request) -> Response:
    """Return the one model served here.

    Source: https://platform.openai.com/docs/api-reference/models/list
    """
    return _json({"object": "list", "data": [_model(_service(request))]})


@router.api_route("/v1/models/{name:path}", methods=READ)
async def get_model(request: Request, name: str) -> Response:
    """Return one model's object, or 404 `model_not_found`."""
    service = _service(request)
    check_model(name, service.model_name)
    return _json(_model(service))


@router.post("/tokenize")
async def tokenize(request: Request) -> Response:
    """Return the token ids of a raw prompt or of a conversation."""
    service = _service(request)
    with service.lifecycle.admit():
        body = validate(TokenizeRequest, await read_json(request, service.max_body_bytes))
        check_model(body.model, service.model_name)
        model = service.model()
        if body.messages is not None and body.prompt is None:
            prompt = await model.encoder.encode_chat(
                body.messages, rendering=rendering(body, body.messages)
            )
            token_ids = prompt.token_ids
        elif body.prompt is not None and body.messages is None:
            token_ids = await model.encoder.encode_prompt(body.prompt)
        else:
            raise BadRequestError(
                "Give either prompt or messages.",
                code="missing_required_parameter" if body.prompt is None else "invalid_value",
                param="prompt",
            )
        return _json(
            {
                "count": len(token_ids),
                "max_model_len": model.max_model_len,
                "tokens": token_ids,
            }
        )


@router.post("/detokenize")
async def detokenize(request: Request) -> Response:
    """Return the text of token ids, control tokens included."""
    service = _service(request)
    with service.lifecycle.admit():
        body = validate(DetokenizeRequest, await read_json(request, service.max_body_bytes))
        check_model(body.model, service.model_name)
        model = service.model()
        check_token_ids(body.tokens, model.limits.vocab_size, "tokens")
        if len(body.tokens) > model.max_model_len:
            raise InvalidRequestError(
                f"tokens has {len(body.tokens)} ids; the context holds {model.max_model_len}.",
                param="tokens",
            )
        return _json({"prompt": await model.encoder.decode(body.tokens)})


@router.api_route("/livez", methods=READ)
async def livez(request: Request) -> Response:
    """200 while the engine process makes progress; 503 asks for a restart."""
    service = _service(request)
    if service.is_live():
        return _json({"status": "ok"})
    return _json({"status": "engine dead or stuck"}, 503)


@router.api_route("/readyz", methods=READ)
async def readyz(request: Request) -> Response:
    """200 while requests are taken: loaded, warmed up, not draining, engine alive."""
    service = _service(request)
    if service.lifecycle.phase is not Phase.SERVING:
        return _json({"status": service.lifecycle.phase.value}, 503)
    if not service.is_live():
        return _json({"status": "engine stuck"}, 503)
    return _json({"status": "ready"})


@router.api_route("/startupz", methods=READ)
async def startupz(request: Request) -> Response:
    """200 once start-up is over; `stage` says what it is doing until then."""
    service = _service(request)
    starting = service.lifecycle.phase is Phase.STARTING
    return _json({"stage": service.stage}, 503 if starting else 200)


@router.api_route("/metrics", methods=READ)
async def metrics(request: Request) -> Response:
    """Return all series in Prometheus' text format."""
    return Response(_service(request).metrics.exposition(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.api_route("/version", methods=READ)
async def show_version(request: Request) -> Response:
    """Return Pagelet's version."""
    return _json({"version": version("pagelet")})


@router.api_route("/openapi.json", methods=READ)
async def show_openapi() -> Response:
    """Return the API as an OpenAPI document."""
    return _json(document())


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _model(service: Service) -> Json:
    loaded = service.loaded
    return {
        "id": service.model_name,
        "object": "model",
        "created": service.created,
        "owned_by": "pagelet",
        "max_model_len": loaded.max_model_len if loaded else None,
    }


def _json(content: Json, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
