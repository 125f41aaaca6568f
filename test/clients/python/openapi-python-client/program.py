import json
import sys

from unroll import Client
from unroll.api.rnn import rnn_forward
from unroll.models import Problem
from unroll.api.rnn import rnn_backward
from unroll.models import CachesMode, RnnBackwardRequest, RnnForwardRequest, RnnParameters

weights = dict(wax=[[0.5]], waa=[[0.8]], ba=[[0.25]])
predictions = dict(wya=[[1], [-1]], by=[[0], [0]])
inputs = dict(x=[[[1, 0, -1]]], a0=[[0]])
parameters = RnnParameters(**weights, **predictions)


class Refused(Exception):
    def __init__(self, problem, retry_after):
        super().__init__(problem.detail)
        self.problem = problem
        self.retry_after = retry_after


def forward(url, request):
    with Client(url) as client:
        answer = rnn_forward.sync_detailed(client=client, body=request)
    if isinstance(answer.parsed, Problem):
        raise Refused(answer.parsed, answer.headers.get("retry-after"))
    return answer.parsed


def backward(url, **way):
    with Client(url) as client:
        body = RnnBackwardRequest(da=[[[0, 0, 1]]], **way)
        return rnn_backward.sync(client=client, body=body).to_dict()


def refusal(url, request):
    try:
        forward(url, request)
    except Refused as error:
        problem = error.problem
        pointer = problem.errors[0].pointer if problem.errors else None
        return dict(code=problem.code, pointer=pointer, retryAfter=error.retry_after)


url, url_without_store = sys.argv[1:]
inline = RnnForwardRequest(**inputs, parameters=parameters, caches=CachesMode.INLINE)
stored = RnnForwardRequest(**inputs, parameters=parameters, caches=CachesMode.STORED)
misshapen = RnnForwardRequest(**inputs, parameters=RnnParameters(**{**weights, "wax": [[1, 2]]}))
answers = dict(
    forward=forward(url, RnnForwardRequest(**inputs, parameters=parameters)).to_dict(),
    fromInputs=backward(url, **inputs, parameters=RnnParameters(**weights)),
    fromInline=backward(url, caches=forward(url, inline).caches),
    fromStored=backward(url, cache_id=forward(url, stored).cache_id),
    refused=refusal(url, misshapen),
    unavailable=refusal(url_without_store, stored),
)
print(json.dumps(answers))
