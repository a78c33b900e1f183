defmodule Palladion.Request.Batch do
  @moduledoc false
  # The statements of a batch: as users give them, as the native library takes them, and what is told
  # of them. What is no statement is left as it is, and refused by the native library.

  alias Palladion.{Prepared, Statement}

  # The numbers of the protocol's specification.
  @types %{logged: 0, unlogged: 1, counter: 2}

  @type type :: 0..2

  @type statements :: [String.t() | {{:text, String.t()} | {:id, binary()}, Palladion.values()}]

  # More different texts say no more, and cost each request.
  @shown 10

  @doc false
  @spec types() :: %{atom() => type()}
  def types, do: @types

  @doc false
  @spec counter?(type()) :: boolean()
  def counter?(type), do: type == @types.counter

  @doc false
  # `nil`, which is refused as well, for what is no list, or has no end.
  @spec statements(term()) :: statements() | nil
  def statements(given) do
    if is_list(given) and not List.improper?(given), do: Enum.map(given, &statement/1)
  end

  defp statement(%Prepared{id: id}), do: {{:id, id}, []}
  defp statement({%Prepared{id: id}, values}), do: {{:id, id}, values}
  # As of a query: without values nothing is prepared.
  defp statement({text, []}), do: text
  defp statement({text, values}), do: {{:text, text}, values}
  defp statement(text), do: text

  @doc false
  # What a statement with values is prepared from: its text, and the keyspace if it has one of its own.
  @spec source(term()) :: {String.t(), String.t() | nil}
  def source({statement, _values}), do: source(statement)
  def source(%Prepared{statement: text, keyspace: keyspace}), do: {text, keyspace}
  def source(text), do: {text, nil}

  @doc false
  # The first prepared statement of another keyspace than this: its place, and the keyspace of its own.
  @spec prepared_elsewhere(term(), String.t()) ::
          {at :: non_neg_integer(), own :: String.t() | nil} | nil
  def prepared_elsewhere(given, keyspace), do: elsewhere(given, keyspace, 0)

  defp elsewhere([first | rest], keyspace, at) do
    case first do
      {%Prepared{keyspace: own}, _values} when own != keyspace -> {at, own}
      %Prepared{keyspace: own} when own != keyspace -> {at, own}
      _text_or_there -> elsewhere(rest, keyspace, at + 1)
    end
  end

  defp elsewhere(_end, _keyspace, _at), do: nil

  @doc false
  # The texts, each once.
  @spec text(term()) :: String.t()
  def text(given), do: given |> texts() |> Enum.join("; ")

  @doc false
  # How it is told as telemetry.
  @spec describe(term()) :: map()
  def describe(given) do
    texts = texts(given)

    %{
      statement: show(texts),
      analysis: analyse(texts),
      batch_size: size(given, 0),
      parameterised?: bound?(given)
    }
  end

  # Most batches repeat one text, which is dropped before all are compared.
  defp texts(given), do: given |> all_texts() |> Enum.dedup() |> Enum.uniq()

  defp all_texts([first | rest]) do
    case source(first) do
      {text, _keyspace} when is_binary(text) -> [text | all_texts(rest)]
      _no_statement -> all_texts(rest)
    end
  end

  defp all_texts(_end_or_no_list), do: []

  # Each by itself: behind another it could be taken for a part of that.
  defp show(texts) do
    {shown, more} = Enum.split(texts, @shown)
    text = Enum.map_join(shown, "; ", &Statement.obfuscate/1)
    if more == [], do: text, else: text <> "; …"
  end

  defp analyse(texts) do
    analyses = Enum.map(texts, &Statement.analyse/1)
    collection = common(analyses, :collection)

    %{
      operation: "BATCH",
      collection: collection,
      keyspace: common(analyses, :keyspace),
      summary: if(collection, do: "BATCH " <> collection, else: "BATCH")
    }
  end

  defp common(analyses, key) do
    case analyses |> Enum.map(&Map.fetch!(&1, key)) |> Enum.uniq() do
      [same] -> same
      _several_or_none -> nil
    end
  end

  defp size([_first | rest], size), do: size(rest, size + 1)
  defp size(_end_or_no_list, size), do: size

  defp bound?([{_statement, values} | rest]) when values != [], do: bound?(rest)
  defp bound?([%Prepared{} | rest]), do: bound?(rest)
  defp bound?([{%Prepared{}, []} | rest]), do: bound?(rest)
  defp bound?(end_or_other), do: end_or_other == []
end
