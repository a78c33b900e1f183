defmodule Palladion.Config.NodeFunction do
  @moduledoc false
  # Internal: functions of users that are called with a node, in either form.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.{ConfigError, Node}

  @type t :: (Node.t() -> term()) | {module(), atom(), [term()]}

  @doc false
  @spec check(term(), ConfigError.path()) :: {term(), [ConfigError.problem()]}
  def check(fun, _path) when is_function(fun, 1), do: {fun, []}

  # An improper list has no length, and so fails the guard.
  def check({module, function, arguments} = mfa, path)
      when is_atom(module) and is_atom(function) and length(arguments) >= 0 do
    arity = length(arguments) + 1

    if Code.ensure_loaded?(module) and function_exported?(module, function, arity) do
      {mfa, []}
    else
      called = Exception.format_mfa(module, function, arity)
      message = "is #{called}, with the node before its arguments, and there is no such function"
      {mfa, [problem(path, :invalid_value, message)]}
    end
  end

  def check(other, path) do
    message = "must be a function that takes the node, or {module, function, arguments}"
    {other, [problem(path, :invalid_value, message)]}
  end

  @doc false
  @spec call(t(), Node.t()) :: term()
  def call({module, function, arguments}, node), do: apply(module, function, [node | arguments])
  def call(fun, node), do: fun.(node)
end
