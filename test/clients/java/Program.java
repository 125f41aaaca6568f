import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import unroll.*;

class Program {
  static final List<List<List<Double>>> X = List.of(List.of(List.of(1.0, 0.0, -1.0)));
  static final List<List<Double>> A0 = List.of(List.of(0.0));

  static RnnParameters weights() {
    return new RnnParameters().wax(List.of(List.of(0.5))).waa(List.of(List.of(0.8))).ba(List.of(List.of(0.25)));
  }

  static RnnForwardRequest request() {
    var parameters = weights().wya(List.of(List.of(1.0), List.of(-1.0))).by(List.of(List.of(0.0), List.of(0.0)));
    return new RnnForwardRequest().x(X).a0(A0).parameters(parameters);
  }

  static RnnForwardResult forward(String url, RnnForwardRequest request) throws ApiException {
    var client = new ApiClient();
    client.updateBaseUri(url);
    return new RnnApi(client).rnnForward(request, null, null);
  }

  static RnnBackwardResult backward(String url, RnnBackwardRequest request) throws ApiException {
    var client = new ApiClient();
    client.updateBaseUri(url);
    return new RnnApi(client).rnnBackward(request.da(List.of(List.of(List.of(0.0, 0.0, 1.0)))), null, null);
  }

  static Map<String, Object> refusal(String url, RnnForwardRequest request) throws Exception {
    var summary = new LinkedHashMap<String, Object>();
    try {
      forward(url, request);
    } catch (ApiException refused) {
      var problem = JSON.getDefault().getMapper().readValue(refused.getResponseBody(), Problem.class);
      summary.put("code", problem.getCode());
      problem.getErrors().stream().findFirst().ifPresent(error -> summary.put("pointer", error.getPointer()));
      refused.getResponseHeaders().firstValue("retry-after").ifPresent(seconds -> summary.put("retryAfter", seconds));
    }
    return summary;
  }

  public static void main(String[] urls) throws Exception {
    String url = urls[0], urlWithoutStore = urls[1];
    var inline = forward(url, request().caches(CachesMode.INLINE));
    var stored = forward(url, request().caches(CachesMode.STORED));
    var misshapen = new RnnForwardRequest().x(X).a0(A0).parameters(weights().wax(List.of(List.of(1.0, 2.0))));
    var answers = new LinkedHashMap<String, Object>();
    answers.put("forward", forward(url, request()));
    answers.put("fromInputs", backward(url, new RnnBackwardRequest().x(X).a0(A0).parameters(weights())));
    answers.put("fromInline", backward(url, new RnnBackwardRequest().caches(inline.getCaches())));
    answers.put("fromStored", backward(url, new RnnBackwardRequest().cacheId(stored.getCacheId())));
    answers.put("refused", refusal(url, misshapen));
    answers.put("unavailable", refusal(urlWithoutStore, request().caches(CachesMode.STORED)));
    System.out.println(JSON.getDefault().getMapper().writeValueAsString(answers));
  }
}
