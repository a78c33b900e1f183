defmodule Palladion.Request.Operation do
  @moduledoc false
  # What a request does, as the native library is asked for it. Native options end with the route:
  # `nil`, or a node to go to or to avoid.

  alias Palladion.{Prepared, RequestOptions, RetryPolicy, Timestamps}
  alias Palladion.Request.Batch

  @type t ::
          {:query, statement :: term(), native :: tuple()}
          | {:execute, key :: tuple(), values :: term(), native :: tuple(), statement :: term(),
             keyspace()}
          | {:batch, Batch.type(), Batch.statements(), native :: tuple(), given :: term()}
          | {:prepare, statement :: term(), keyspace(), route()}

  @typedoc "In which a statement is prepared, if not in the one in use"
  @type keyspace :: String.t() | nil

  @type route :: nil | {:first | :avoid, node :: binary()}

  @doc false
  @spec new(Prepared.t() | term(), term(), tuple(), Timestamps.t()) :: t()
  def new(%Prepared{statement: statement} = prepared, values, native, timestamps) do
    native = stamp(native, statement, timestamps)
    {:execute, {:id, prepared.id}, values, native, statement, prepared.keyspace}
  end

  def new(statement, [], native, timestamps),
    do: {:query, statement, stamp(native, statement, timestamps)}

  def new(statement, values, native, timestamps) do
    keyspace = RequestOptions.keyspace(native)
    native = stamp(native, statement, timestamps)
    {:execute, {:text, statement}, values, native, statement, keyspace}
  end

  @doc false
  @spec batch(term(), Batch.type(), tuple(), Timestamps.t()) :: t()
  def batch(given, type, native, timestamps),
    do: {:batch, type, Batch.statements(given), stamp(native, nil, timestamps), given}

  # Here, where all attempts still are one, so that a write that is sent twice is one write.
  defp stamp(native, statement, timestamps) do
    RequestOptions.put_timestamp(native, fn ->
      unless RetryPolicy.select?(statement), do: Timestamps.next(timestamps)
    end)
  end

  @doc false
  # What is no statement is refused by the native library.
  @spec statement(t()) :: String.t()
  def statement({:query, statement, _native}) when is_binary(statement), do: statement

  def statement({:prepare, statement, _keyspace, _route}) when is_binary(statement),
    do: statement

  def statement({:execute, _key, _values, _native, statement, _keyspace})
      when is_binary(statement),
      do: statement

  def statement({:batch, _type, _statements, _native, given}), do: Batch.text(given)
  def statement(_other), do: ""

  @doc false
  # The one that is not the cluster's.
  @spec keyspace(t()) :: keyspace()
  def keyspace({:query, _statement, native}), do: RequestOptions.keyspace(native)
  def keyspace({:prepare, _statement, keyspace, _route}), do: keyspace
  def keyspace({:execute, _key, _values, _native, _statement, keyspace}), do: keyspace

  def keyspace({:batch, _type, _statements, native, _given}),
    do: RequestOptions.keyspace(native)

  @doc false
  # What servers would carry out in silence, and not as it was meant: the error, or `nil`.
  @spec refusal(t() | atom()) :: {atom(), map()} | nil
  def refusal({:batch, _type, [], _native, _given}),
    do: {:bad_statement, %{detail: "a batch needs at least one statement"}}

  def refusal({:batch, _type, [_ | _], native, given}) do
    with keyspace when keyspace != nil <- RequestOptions.keyspace(native),
         {at, own} <- Batch.prepared_elsewhere(given, keyspace) do
      {:bad_argument, %{detail: elsewhere(own, keyspace), statement: at}}
    end
  end

  def refusal({:execute, {:id, _id}, _values, native, _statement, own}) do
    keyspace = RequestOptions.keyspace(native)
    if keyspace not in [nil, own], do: {:bad_argument, %{detail: elsewhere(own, keyspace)}}
  end

  def refusal(_other), do: nil

  defp elsewhere(own, keyspace) do
    own = if own, do: "the keyspace #{inspect(own)}", else: "no keyspace of its own"

    "the statement was prepared in #{own}, which no option changes when it is executed; to have it in " <>
      "#{inspect(keyspace)}, prepare it with prepare(…, keyspace: #{inspect(keyspace)})"
  end

  @doc false
  @spec to(t(), route()) :: t()
  def to({:prepare, statement, keyspace, _route}, route),
    do: {:prepare, statement, keyspace, route}

  def to({:query, statement, native}, route), do: {:query, statement, put(native, route)}

  # One to execute, or a batch.
  def to(operation, route), do: put_elem(operation, 3, operation |> elem(3) |> put(route))

  defp put(native, route), do: put_elem(native, tuple_size(native) - 1, route)
end
