#include "train/operations.hpp"

#include "train/kernels.hpp"

namespace promptcache::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

struct PackedAttention : torch::autograd::Function<PackedAttention> {
  static AttentionShape shape_of(AutogradContext* context, const std::vector<std::int64_t>& lengths,
                                 const torch::Tensor& q) {
    const auto heads = static_cast<std::size_t>(context->saved_data["heads"].toInt());
    return {lengths, heads, static_cast<std::size_t>(q.size(1)) / heads,
            static_cast<float>(context->saved_data["dropout"].toDouble()),
            static_cast<std::uint64_t>(context->saved_data["seed"].toInt())};
  }

  static Variable forward(AutogradContext* context, const Variable& q, const Variable& k, const Variable& v,
                          const std::vector<std::int64_t>& lengths, std::int64_t heads, double dropout,
                          std::int64_t seed) {
    context->saved_data["lengths"] = lengths;
    context->saved_data["heads"] = heads;
    context->saved_data["dropout"] = dropout;
    context->saved_data["seed"] = seed;
    const AttentionShape shape = shape_of(context, lengths, q);
    const torch::Tensor probabilities = torch::empty({static_cast<std::int64_t>(shape.probabilities())}, q.options());
    torch::Tensor out = torch::empty_like(q);
    attention_forward(shape, q.data_ptr<float>(), k.data_ptr<float>(), v.data_ptr<float>(),
                      probabilities.data_ptr<float>(), out.data_ptr<float>());
    context->save_for_backward({q, k, v, probabilities});
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const std::vector<std::int64_t> lengths = context->saved_data["lengths"].toIntVector();
    const torch::Tensor gradient = gradients[0].contiguous();
    const AttentionShape shape = shape_of(context, lengths, saved[0]);
    torch::Tensor dq = torch::empty_like(saved[0]);
    torch::Tensor dk = torch::empty_like(saved[0]);
    torch::Tensor dv = torch::empty_like(saved[0]);
    attention_backward(shape, saved[0].data_ptr<float>(), saved[1].data_ptr<float>(), saved[2].data_ptr<float>(),
                       saved[3].data_ptr<float>(), gradient.data_ptr<float>(), dq.data_ptr<float>(),
                       dk.data_ptr<float>(), dv.data_ptr<float>());
    return {dq, dk, dv, {}, {}, {}, {}};
  }
};

struct SeededDropout : torch::autograd::Function<SeededDropout> {
  static Variable apply_to(const Variable& x, double rate, std::int64_t seed) {
    torch::Tensor out = torch::empty_like(x);
    dropout(x.data_ptr<float>(), static_cast<std::size_t>(x.numel()), static_cast<float>(rate),
            static_cast<std::uint64_t>(seed), out.data_ptr<float>());
    return out;
  }

  static Variable forward(AutogradContext* context, const Variable& x, double rate, std::int64_t seed) {
    context->saved_data["rate"] = rate;
    context->saved_data["seed"] = seed;
    return apply_to(x, rate, seed);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {apply_to(gradients[0].contiguous(), context->saved_data["rate"].toDouble(),
                     context->saved_data["seed"].toInt()),
            {},
            {}};
  }
};

}  // namespace

torch::Tensor packed_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                               const std::vector<std::int64_t>& lengths, std::int64_t heads, double dropout,
                               std::uint64_t seed) {
  return PackedAttention::apply(q.contiguous(), k.contiguous(), v.contiguous(), lengths, heads, dropout,
                                static_cast<std::int64_t>(seed));
}

torch::Tensor seeded_dropout(const torch::Tensor& x, double rate, std::uint64_t seed) {
  return SeededDropout::apply(x.contiguous(), rate, static_cast<std::int64_t>(seed));
}

}  // namespace promptcache::train
