#include "embed/matrix_product.hpp"

#include <cassert>
#include <string_view>
#include <vector>

#include "promptcache/base/error.hpp"
#include "promptcache/base/isa.hpp"

namespace promptcache::embed {
namespace {

using Dim = dnnl::memory::dim;
using Type = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

void limit_isa() {
  const std::string_view isa = active_isa();
  if (isa == available_isas().front()) return;
#if defined(__x86_64__) || defined(__i386__)
  dnnl::cpu_isa limit = dnnl::cpu_isa::sse41;  // its lowest
  if (isa == "avx2") limit = dnnl::cpu_isa::avx2;
  if (isa == "avx512") limit = dnnl::cpu_isa::avx512_core;
  if (dnnl::set_max_cpu_isa(limit) != dnnl::status::success) {
    throw Error(ErrorCode::unsupported, {"PROMPTCACHE_ISA"}, "oneDNN in use before the first embedder was opened",
                "the first use of oneDNN in this process, so that it can be limited to " + std::string(isa));
  }
#endif
}

dnnl::primitive_attr attributes(const Activation* activation) {
  dnnl::primitive_attr attributes;
  // Scratch memory inside the primitive would be shared by the threads that run it.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (activation == nullptr) return attributes;
  dnnl::algorithm algorithm = dnnl::algorithm::eltwise_gelu_erf;
  if (*activation == Activation::gelu_tanh) algorithm = dnnl::algorithm::eltwise_gelu_tanh;
  if (*activation == Activation::relu) algorithm = dnnl::algorithm::eltwise_relu;
  dnnl::post_ops operations;
#if DNNL_VERSION_MAJOR >= 3
  operations.append_eltwise(algorithm, 0, 0);
#else
  operations.append_eltwise(1, algorithm, 0, 0);
#endif
  attributes.set_post_ops(operations);
  return attributes;
}

dnnl::memory::desc vector_desc(Dim size) { return {{size}, Type::f32, Tag::a}; }

dnnl::matmul::primitive_desc describe_matmul(Dim rows, Dim in, Dim out, const dnnl::memory::desc* packed,
                                             const dnnl::primitive_attr& attributes) {
  const dnnl::memory::desc source({rows, in}, Type::f32, Tag::ab);
  const dnnl::memory::desc weights = packed != nullptr ? *packed : dnnl::memory::desc({in, out}, Type::f32, Tag::any);
  const dnnl::memory::desc bias({1, out}, Type::f32, Tag::ab);
  const dnnl::memory::desc target({rows, out}, Type::f32, Tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), source, weights, bias, target, attributes};
#else
  return {dnnl::matmul::desc(source, weights, bias, target), attributes, cpu_engine()};
#endif
}

dnnl::convolution_forward::primitive_desc describe_convolution(Dim rows, Dim in, Dim out,
                                                               const dnnl::memory::desc* packed,
                                                               const dnnl::primitive_attr& attributes) {
  const dnnl::memory::desc source({1, in, rows}, Type::f32, Tag::nwc);
  const dnnl::memory::desc weights =
      packed != nullptr ? *packed : dnnl::memory::desc({out, in, 1}, Type::f32, Tag::any);
  const dnnl::memory::desc target({1, out, rows}, Type::f32, Tag::nwc);
  const auto inference = dnnl::prop_kind::forward_inference;
  const auto direct = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), inference, direct, source, weights, vector_desc(out), target, {1}, {0}, {0}, attributes};
#else
  return {dnnl::convolution_forward::desc(inference, direct, source, weights, vector_desc(out), target, {1}, {0}, {0}),
          attributes, cpu_engine()};
#endif
}

bool contains(const char* name, std::string_view piece) {
  return std::string_view(name).find(piece) != std::string_view::npos;
}

}  // namespace

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine = [] {
    limit_isa();
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return engine;
}

struct MatrixProduct::Recipe {
  bool convolution = false;
  dnnl::primitive_attr attributes;
  dnnl::memory::desc packed;  // one layout for every number of rows
};

struct MatrixProduct::Plan {
  dnnl::primitive primitive;
  dnnl::memory::desc source;
  dnnl::memory::desc target;
  dnnl::memory::desc scratch;
  std::string kernel;

  template <class Description>
  static Plan of(const Description& description, const dnnl::primitive& primitive) {
    return {primitive, description.src_desc(), description.dst_desc(), description.scratchpad_desc(),
            description.impl_info_str()};
  }
};

MatrixProduct::MatrixProduct(std::size_t in, std::size_t out, const Activation* activation)
    : in_(in), out_(out), recipe_(std::make_unique<Recipe>()) {
  recipe_->attributes = attributes(activation);
  const Dim rows = 32;
  const auto matmul = describe_matmul(rows, Dim(in), Dim(out), nullptr, recipe_->attributes);
  recipe_->packed = matmul.weights_desc();
  if (contains(matmul.impl_info_str(), "brg")) return;
  try {
    const auto convolution = describe_convolution(rows, Dim(in), Dim(out), nullptr, recipe_->attributes);
    if (!contains(convolution.impl_info_str(), "jit_1x1") && !contains(convolution.impl_info_str(), "brg")) return;
    recipe_->packed = convolution.weights_desc();
    recipe_->convolution = true;
  } catch (const dnnl::error&) {
    // This processor has no such convolution: the matrix product it is.
  }
}

MatrixProduct::~MatrixProduct() {
  for (const auto& plan : plans_) delete plan.load();
}

const MatrixProduct::Plan& MatrixProduct::plan(std::size_t rows) const {
  assert(rows > 0 && rows <= max_rows);
  const Plan* found = plans_[rows].load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  const std::lock_guard lock(making_);
  found = plans_[rows].load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  std::unique_ptr<Plan> made;
  if (recipe_->convolution) {
    const auto description =
        describe_convolution(Dim(rows), Dim(in_), Dim(out_), &recipe_->packed, recipe_->attributes);
    made = std::make_unique<Plan>(Plan::of(description, dnnl::convolution_forward(description)));
  } else {
    const auto description = describe_matmul(Dim(rows), Dim(in_), Dim(out_), &recipe_->packed, recipe_->attributes);
    made = std::make_unique<Plan>(Plan::of(description, dnnl::matmul(description)));
  }
  plans_[rows].store(made.get(), std::memory_order_release);
  return *made.release();
}

std::string MatrixProduct::kernel(std::size_t rows) const { return plan(rows).kernel; }

PackedWeights MatrixProduct::pack(std::span<const float> weights, std::span<const float> bias,
                                  dnnl::stream& stream) const {
  assert(weights.size() == in_ * out_ && bias.size() == out_);
  // The same bytes, seen as a convolution's [out, in, 1] or as a transposed [in, out].
  const dnnl::memory::desc plain = recipe_->convolution
                                       ? dnnl::memory::desc({Dim(out_), Dim(in_), 1}, Type::f32, Tag::abc)
                                       : dnnl::memory::desc({Dim(in_), Dim(out_)}, Type::f32, Tag::ba);
  dnnl::memory from(plain, cpu_engine(), const_cast<float*>(weights.data()));
  PackedWeights packed;
  packed.weights = dnnl::memory(recipe_->packed, cpu_engine());
  dnnl::reorder(from, packed.weights).execute(stream, from, packed.weights);
  stream.wait();
  const auto row =
      recipe_->convolution ? vector_desc(Dim(out_)) : dnnl::memory::desc({1, Dim(out_)}, Type::f32, Tag::ab);
  packed.bias = dnnl::memory(row, cpu_engine());
  std::copy(bias.begin(), bias.end(), static_cast<float*>(packed.bias.get_data_handle()));
  return packed;
}

void MatrixProduct::run(const float* x, std::size_t rows, const PackedWeights& weights, float* y, dnnl::stream& stream,
                        dnnl::memory& scratch) const {
  const Plan& plan = this->plan(rows);
  dnnl::memory source(plan.source, cpu_engine(), const_cast<float*>(x));
  dnnl::memory target(plan.target, cpu_engine(), y);
  const std::size_t wanted = plan.scratch.get_size();
  if (wanted > 0 && (!scratch || scratch.get_desc().get_size() < wanted))
    scratch = dnnl::memory(plan.scratch, cpu_engine());
  // An array instead of the C++ wrapper's hash map: this runs 24 times for a prompt of a few tokens.
  const std::array<dnnl_exec_arg_t, 5> arguments{{{DNNL_ARG_SRC, source.get()},
                                                  {DNNL_ARG_WEIGHTS, weights.weights.get()},
                                                  {DNNL_ARG_BIAS, weights.bias.get()},
                                                  {DNNL_ARG_DST, target.get()},
                                                  {DNNL_ARG_SCRATCHPAD, wanted > 0 ? scratch.get() : nullptr}}};
  const int count = wanted > 0 ? 5 : 4;
  dnnl::error::wrap_c_api(dnnl_primitive_execute(plan.primitive.get(), stream.get(), count, arguments.data()),
                          "could not run a matrix product");
}

}  // namespace promptcache::embed
