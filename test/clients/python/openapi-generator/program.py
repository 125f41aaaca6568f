import json
import sys

from unroll import ApiClient, ApiException, Configuration, RNNApi
from unroll import CachesMode, RnnBackwardRequest, RnnForwardRequest, RnnParameters

weights = dict(wax=[[0.5]], waa=[[0.8]], ba=[[0.25]])
predictions = dict(wya=[[1], [-1]], by=[[0], [0]])
inputs = dict(x=[[[1, 0, -1]]], a0=[[0]])
request = RnnForwardRequest(**inputs, parameters=RnnParameters(**weights, **predictions))


def forward(url, request):
    with ApiClient(Configuration(host=url)) as client:
        return RNNApi(client).rnn_forward(request)


def backward(url, **way):
    with ApiClient(Configuration(host=url)) as client:
        return RNNApi(client).rnn_backward(RnnBackwardRequest(da=[[[0, 0, 1]]], **way)).to_dict()


def refusal(url, request):
    try:
        forward(url, request)
    except ApiException as error:
        problem, retry_after = error.data, error.headers.get("retry-after")
        pointer = problem.errors[0].pointer if problem.errors else None
        return dict(code=problem.code, pointer=pointer, retryAfter=retry_after)


url, url_without_store = sys.argv[1:]
inline = request.model_copy(update=dict(caches=CachesMode.INLINE))
stored = request.model_copy(update=dict(caches=CachesMode.STORED))
misshapen = RnnForwardRequest(**inputs, parameters=RnnParameters(**{**weights, "wax": [[1, 2]]}))
answers = dict(
    forward=forward(url, request).to_dict(),
    fromInputs=backward(url, **inputs, parameters=RnnParameters(**weights)),
    fromInline=backward(url, caches=forward(url, inline).caches),
    fromStored=backward(url, cache_id=forward(url, stored).cache_id),
    refused=refusal(url, misshapen),
    unavailable=refusal(url_without_store, stored),
)
print(json.dumps(answers))
