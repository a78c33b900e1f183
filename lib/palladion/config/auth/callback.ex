defmodule Palladion.Config.Auth.Callback do
  @moduledoc false
  # Internal: functions of users that give credentials, in either form. Their arguments, and what
  # they raise, may be secret: neither is ever shown.

  @type t :: function() | {module(), atom(), [term()]}

  @doc false
  # `before` is how many arguments are put before the user's own.
  @spec check(term(), before :: non_neg_integer()) :: :ok | {:error, String.t()} | :other
  def check(fun, before) when is_function(fun, before), do: :ok

  # An improper list has no length, and so fails the guard.
  def check({module, function, arguments}, before)
      when is_atom(module) and is_atom(function) and length(arguments) >= 0 do
    arity = length(arguments) + before

    if Code.ensure_loaded?(module) and function_exported?(module, function, arity) do
      :ok
    else
      called = Exception.format_mfa(module, function, arity)
      {:error, "is #{called}#{explained(before)}, and there is no such function"}
    end
  end

  def check(_other, _before), do: :other

  defp explained(0), do: ""
  defp explained(1), do: ", with the endpoint before its arguments"

  @doc false
  @spec run(t(), [term()]) :: {:ok, term()} | {:error, String.t()}
  def run(callback, before) do
    {:ok, call(callback, before)}
  rescue
    error -> {:error, "the function raised #{inspect(error.__struct__)}"}
  catch
    kind, _value -> {:error, "the function ended with #{kind}"}
  end

  defp call({module, function, arguments}, before),
    do: apply(module, function, before ++ arguments)

  defp call(fun, before), do: apply(fun, before)
end
