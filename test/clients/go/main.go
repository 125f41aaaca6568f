package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"example/unroll"
)

var request = unroll.RnnForwardRequest{
	X:  [][][]float64{{{1, 0, -1}}},
	A0: [][]float64{{0}},
	Parameters: unroll.RnnParameters{
		Wax: [][]float64{{0.5}}, Waa: [][]float64{{0.8}}, Ba: [][]float64{{0.25}},
		Wya: &[][]float64{{1}, {-1}}, By: &[][]float64{{0}, {0}},
	},
}

type Refused struct {
	unroll.Problem
	RetryAfter string
}

func (refused *Refused) Error() string { return refused.Detail }

func forward(url string, request unroll.RnnForwardRequest) (*unroll.RnnForwardResult, error) {
	client, err := unroll.NewClientWithResponses(url)
	if err != nil {
		return nil, err
	}
	answer, err := client.RnnForwardWithResponse(context.Background(), nil, request)
	if err != nil {
		return nil, err
	}
	if answer.JSON200 != nil {
		return answer.JSON200, nil
	}
	refused := Refused{RetryAfter: answer.HTTPResponse.Header.Get("Retry-After")}
	if err := json.Unmarshal(answer.Body, &refused.Problem); err != nil {
		return nil, err
	}
	return nil, &refused
}

func backward(url string, request unroll.RnnBackwardRequest) *unroll.RnnBackwardResult {
	client := must(unroll.NewClientWithResponses(url))
	request.Da = [][][]float64{{{0, 0, 1}}}
	return must(client.RnnBackwardWithResponse(context.Background(), nil, request)).JSON200
}

func main() {
	url, urlWithoutStore := os.Args[1], os.Args[2]
	inputs := unroll.RnnParameters{Wax: request.Parameters.Wax, Waa: request.Parameters.Waa, Ba: request.Parameters.Ba}
	misshapen := request
	misshapen.Parameters.Wax = [][]float64{{1, 2}}
	text := must(json.Marshal(map[string]any{
		"forward":     must(forward(url, request)),
		"fromInputs":  backward(url, unroll.RnnBackwardRequest{X: &request.X, A0: &request.A0, Parameters: &inputs}),
		"fromInline":  backward(url, unroll.RnnBackwardRequest{Caches: must(forward(url, keeping(unroll.Inline))).Caches}),
		"fromStored":  backward(url, unroll.RnnBackwardRequest{CacheId: must(forward(url, keeping(unroll.Stored))).CacheId}),
		"refused":     refusal(forward(url, misshapen)),
		"unavailable": refusal(forward(urlWithoutStore, keeping(unroll.Stored))),
	}))
	fmt.Println(string(text))
}

func keeping(caches unroll.CachesMode) unroll.RnnForwardRequest {
	kept := request
	kept.Caches = &caches
	return kept
}

func refusal(_ *unroll.RnnForwardResult, err error) map[string]any {
	var refused *Refused
	if !errors.As(err, &refused) {
		panic(err)
	}
	summary := map[string]any{"code": refused.Code, "retryAfter": refused.RetryAfter}
	if len(refused.Errors) > 0 {
		summary["pointer"] = refused.Errors[0].Pointer
	}
	return summary
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
