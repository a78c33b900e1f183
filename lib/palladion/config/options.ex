defmodule Palladion.Config.Options do
  @moduledoc false
  # Internal: the engine under the schemas of `Palladion.Config.Schema`. It knows how to
  # check a keyword list against a schema, how to describe a type in an error and in the
  # documentation, and what to suggest for a misspelt name. It knows no option.
  #
  # A schema is a keyword list `name: [type:, doc:, default:, required:, secret:, private:, value:]`:
  # `secret` keeps a value out of messages and out of start arguments, and `private` one that is not
  # what it must be, for it may be a secret in a wrong place. `value` replaces the type's own
  # description in the documentation.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.ConfigError

  @type type ::
          :any
          | :atom
          | :boolean
          | :string
          | :path
          | {:int, Range.t()}
          | {:ms, Range.t()}
          | {:in, [term()]}
          | {:or, [type()]}
  @type schema :: [{atom(), keyword()}]

  @doc false
  # Every option of the schema is in the returned map, with its default where it is absent
  # or wrong, so that later checks can go on and find more. `hint` may say more about an
  # unknown option than that it is unknown.
  @spec check(term(), schema(), ConfigError.path(), (atom() -> String.t() | nil)) ::
          {map(), [ConfigError.problem()]}
  def check(options, schema, path, hint \\ fn _ -> nil end) do
    if Keyword.keyword?(options) do
      {values, problems} = Enum.map_reduce(schema, [], &check_option(&1, &2, options, path))
      {Map.new(values), unknown(options, schema, path, hint) ++ Enum.reverse(problems)}
    else
      # The value is not shown: it may be what stands between a typo and a password.
      {defaults(schema), [problem(path, :invalid_value, "must be a keyword list")]}
    end
  end

  @doc false
  @spec defaults(schema()) :: map()
  def defaults(schema), do: Map.new(schema, fn {name, spec} -> {name, spec[:default]} end)

  defp check_option({name, spec}, problems, options, path) do
    path = path ++ [name]

    case Keyword.fetch(options, name) do
      # An option without a default may be nil, as an unset environment variable is.
      given when given in [:error, {:ok, nil}] ->
        absent(name, spec, given, problems, path)

      {:ok, given} ->
        case cast(spec[:type], given) do
          {:ok, value} -> {{name, value}, problems}
          :error -> {{name, spec[:default]}, [invalid(path, spec, given) | problems]}
        end
    end
  end

  defp absent(name, spec, given, problems, path) do
    cond do
      required?(spec) -> {{name, nil}, [problem(path, :required, "is required") | problems]}
      given == :error or spec[:default] == nil -> {{name, spec[:default]}, problems}
      true -> {{name, spec[:default]}, [invalid(path, spec, nil) | problems]}
    end
  end

  defp required?(spec), do: Keyword.get(spec, :required, false)

  defp invalid(path, spec, given) do
    problem(path, :invalid_value, "must be #{describe(spec[:type])}#{got(spec, given)}")
  end

  defp got(spec, given) do
    cond do
      spec[:secret] -> ""
      spec[:private] -> got(given)
      true -> ", got: #{show(given)}"
    end
  end

  @doc false
  # For the end of a message about an option that a secret may have been given to by mistake: of
  # anything but an atom or a number nobody knows what is in it.
  @spec got(term()) :: String.t()
  def got(value) when is_atom(value) or is_number(value), do: ", got: #{show(value)}"
  def got(_value), do: ""

  @doc false
  # A value as it may stand in a message: short.
  @spec show(term()) :: String.t()
  def show(value), do: inspect(value, limit: 5, printable_limit: 80)

  # Types

  @doc false
  @spec cast(type(), term()) :: {:ok, term()} | :error
  def cast(type, value) do
    case {type, value} do
      {:any, _} -> {:ok, value}
      {:atom, _} when is_atom(value) and value not in [nil, true, false] -> {:ok, value}
      {:boolean, _} when is_boolean(value) -> {:ok, value}
      {:string, _} when is_binary(value) and value != "" -> cast_text(value)
      {:path, _} when is_binary(value) and value != "" -> cast_text(value)
      {:path, _} -> charlist(value)
      {{:int, range}, _} when is_integer(value) -> within(range, value)
      {{:ms, range}, _} when is_integer(value) -> within(range, value)
      {{:in, allowed}, _} -> if value in allowed, do: {:ok, value}, else: :error
      {{:or, types}, _} -> Enum.find_value(types, :error, &cast_or_nil(&1, value))
      _ -> :error
    end
  end

  defp cast_or_nil(type, value) do
    with :error <- cast(type, value), do: nil
  end

  defp cast_text(value) do
    if String.valid?(value) and not String.contains?(value, "\0"), do: {:ok, value}, else: :error
  end

  @doc false
  # Erlang's :ssl takes names of files and hosts as charlists, so Palladion does as well.
  @spec charlist(term()) :: {:ok, String.t()} | :error
  def charlist([_ | _] = list) do
    with false <- List.improper?(list),
         true <- Enum.all?(list, &(is_integer(&1) and &1 > 0)),
         text when is_binary(text) <- :unicode.characters_to_binary(list) do
      {:ok, text}
    else
      _ -> :error
    end
  end

  def charlist(_other), do: :error

  defp within(range, value), do: if(value in range, do: {:ok, value}, else: :error)

  @doc false
  @spec describe(type()) :: String.t()
  def describe(:any), do: "a value"
  def describe(:atom), do: "an atom"
  def describe(:boolean), do: "true or false"
  def describe(:string), do: "a non-empty string"
  def describe(:path), do: "a file name"
  def describe({:int, range}), do: "an integer#{bounds(range)}"
  def describe({:ms, range}), do: "a number of milliseconds#{bounds(range)}"
  def describe({:in, values}), do: alternatives(Enum.map(values, &inspect/1))
  def describe({:or, types}), do: alternatives(Enum.map(types, &describe/1))

  defp bounds(range), do: " from #{number(range.first)} to #{number(range.last)}"

  defp alternatives([only]), do: only

  defp alternatives(many) do
    {init, [last]} = Enum.split(many, -1)
    Enum.join(init, ", ") <> " or " <> last
  end

  defp number(n) do
    n
    |> Integer.digits()
    |> Enum.reverse()
    |> Enum.chunk_every(3)
    |> Enum.map_join("_", &Enum.join/1)
    |> String.reverse()
  end

  # Unknown names

  defp unknown(options, schema, path, hint) do
    known = Keyword.keys(schema)

    for name <- options |> Keyword.keys() |> Enum.uniq(), name not in known do
      message = hint.(name) || suggestion(name, known) || all(known)
      problem(path ++ [name], :unknown_option, "unknown option, #{message}")
    end
  end

  defp all([]), do: "there are none here"
  defp all(known), do: "the options here are #{list(known)}"

  @doc false
  # For a message about a name that there is not.
  @spec suggestion(term(), [atom() | String.t(), ...]) :: String.t() | nil
  def suggestion(name, known) do
    near = nearest(name, known)
    if near, do: "did you mean #{inspect(near)}?"
  end

  @doc false
  # The known name that is most like the given one, if any is; case is no difference.
  @spec nearest(term(), [name, ...]) :: name | nil when name: atom() | String.t()
  def nearest(name, known) do
    # What is no text is like nothing.
    if String.valid?(to_string(name)), do: most_like(name, known)
  end

  defp most_like(name, known) do
    distance = &String.jaro_distance(folded(name), folded(&1))
    best = Enum.max_by(known, distance, fn -> nil end)
    if best && distance.(best) >= 0.77, do: best
  end

  defp folded(name), do: name |> to_string() |> String.downcase()

  defp list(names), do: Enum.map_join(names, ", ", &inspect/1)

  # Documentation

  @doc false
  # A Markdown table of a schema, for the documentation of `Palladion`.
  @spec docs(schema()) :: String.t()
  def docs(schema) do
    rows =
      for {name, spec} <- schema do
        value = cell(spec[:value] || describe_briefly(spec[:type]))
        "| `#{name}:` | #{value} | #{default(spec)} | #{cell(spec[:doc])} |\n"
      end

    "| option | value | default | meaning |\n|---|---|---|---|\n" <> Enum.join(rows)
  end

  # Bounds are for messages, apart from those of counts.
  defp describe_briefly({:ms, _range}), do: "milliseconds"
  defp describe_briefly({:in, values}), do: Enum.map_join(values, ", ", &"`#{inspect(&1)}`")
  defp describe_briefly({:or, types}), do: alternatives(Enum.map(types, &describe_briefly/1))
  defp describe_briefly(type), do: describe(type)

  defp default(spec) do
    cond do
      required?(spec) -> "required"
      text = spec[:default_text] -> cell(text)
      spec[:default] == nil -> ""
      is_integer(spec[:default]) -> "`#{number(spec[:default])}`"
      true -> "`#{inspect(spec[:default])}`"
    end
  end

  defp cell(text), do: text |> String.replace("|", "\\|") |> String.replace("\n", " ")
end
