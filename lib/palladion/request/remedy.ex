defmodule Palladion.Request.Remedy do
  @moduledoc false
  # What can be done about an error that is no node's fault, so that the request is sent again and no
  # policy is asked. It decides, and sends nothing.

  alias Palladion.Encoder.Values
  alias Palladion.{Error, RequestOptions}
  alias Palladion.Request.{Batch, Operation}

  # Rounds of preparing, and of connections lost before anything was sent, for one request.
  @max_rounds 32

  @typedoc """
  Send it again, after some ms, after preparing the statement at a place (of a batch), after there is
  a connection, or not.
  """
  @type t ::
          {:retry, Operation.t()}
          | {:retry_in, ms :: pos_integer(), Operation.t()}
          | {:prepare, Operation.t(), at :: non_neg_integer() | nil}
          | :wait
          | :none

  @doc false
  @spec of(Operation.t(), {atom(), map()}, round :: pos_integer()) :: t()
  def of(operation, error, round) do
    if round < @max_rounds or round < max_rounds(operation),
      do: operation |> of(error) |> unhurried(error, round),
      else: :none
  end

  # Encoded once more it fits, unless the connections are about to be others: those take a while.
  defp unhurried({:retry, operation}, {:protocol_changed, _fields}, round) when round > 1,
    do: {:retry_in, round - 1, operation}

  defp unhurried(remedy, _error, _round), do: remedy

  # A statement at a time is found not to be prepared.
  defp max_rounds({:batch, _type, [_ | _] = statements, _native, _given}),
    do: @max_rounds + length(statements)

  defp max_rounds(_operation), do: @max_rounds

  defp of(operation, {kind, fields} = error) do
    case {Error.unprepared(error), operation} do
      {{:ok, node}, {:execute, _key, _values, _native, statement, keyspace}} ->
        {:prepare, {:prepare, statement, keyspace, first(node)}, nil}

      {{:ok, node}, {:batch, _type, _statements, _native, _given}} ->
        prepare_one(operation, fields[:statement], node)

      _other ->
        other(operation, kind, fields)
    end
  end

  # Another node than the one that said so would not know better.
  defp first(node), do: node && {:first, node}

  defp prepare_one({:batch, _type, statements, native, given}, at, node) when is_integer(at) do
    case Enum.fetch(statements, at) do
      {:ok, {key, _values}} ->
        {statement, keyspace} = given |> Enum.fetch!(at) |> Batch.source()
        keyspace = keyspace || keyspace_of(key, native)
        {:prepare, {:prepare, statement, keyspace, first(node)}, at}

      _without_values ->
        :none
    end
  end

  defp prepare_one(_operation, _unknown, _node), do: :none

  defp keyspace_of({:text, _text}, native), do: RequestOptions.keyspace(native)
  defp keyspace_of({:id, _id}, _native), do: nil

  defp other(operation, :bad_value, %{problem: "wrong_type"}), do: encode_structs(operation)
  defp other(_operation, :no_connection, _fields), do: :wait

  defp other(operation, kind, %{sent: false}) when kind not in [:timeout, :attempt_timeout],
    do: {:retry, operation}

  defp other(_operation, _kind, _fields), do: :none

  # A value that the native library does not know may be a struct that encodes itself.
  defp encode_structs({:execute, _, values, _, _, _} = operation) do
    case Values.expand(values) do
      {:ok, values} -> {:retry, put_elem(operation, 2, values)}
      :unchanged -> :none
    end
  end

  defp encode_structs({:batch, _, statements, _, _} = operation) do
    case Enum.map(statements, &expand/1) do
      ^statements -> :none
      expanded -> {:retry, put_elem(operation, 2, expanded)}
    end
  end

  defp encode_structs(_operation), do: :none

  defp expand({key, values}) do
    case Values.expand(values) do
      {:ok, values} -> {key, values}
      :unchanged -> {key, values}
    end
  end

  defp expand(text), do: text

  @doc false
  # The request after its statement was prepared at an attempt, with the id that it has now: it is
  # another one where the keyspace in use is.
  @spec prepared(
          Operation.t(),
          Operation.t(),
          at :: non_neg_integer() | nil,
          id :: binary(),
          attempt :: pos_integer()
        ) :: Operation.t()
  def prepared(operation, prepare, at, id, attempt),
    do: operation |> renamed(at, id) |> there(prepare, attempt)

  defp renamed({:execute, key, _, _, _, _} = operation, nil, id),
    do: put_elem(operation, 1, key(key, key, id))

  defp renamed({:batch, _, statements, _, _} = operation, at, id) do
    {old, _values} = Enum.at(statements, at)

    statements =
      Enum.map(statements, fn
        {key, values} -> {key(key, old, id), values}
        text -> text
      end)

    put_elem(operation, 2, statements)
  end

  defp key({:id, _old} = same, same, id), do: {:id, id}
  defp key(key, _old, _id), do: key

  # Back to the node that has it now: the others may lack it as well, and a batch lacks one statement
  # after the other. It isn't there where that node failed to prepare it, and another did.
  defp there(operation, {:prepare, _statement, _keyspace, {:first, node}}, attempt),
    do: Operation.to(operation, {if(attempt == 1, do: :first, else: :avoid), node})

  defp there(operation, _anywhere, _attempt), do: operation
end
