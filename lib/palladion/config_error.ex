defmodule Palladion.ConfigError do
  @moduledoc """
  The configuration of a cluster can't be used.

  `Palladion.start_link/1` returns (or its supervisor reports) this exception with *all*
  that is wrong, so that one run is enough to put it right:

      ** (Palladion.ConfigError) the configuration of MyApp.DB has 2 problems:

        * pool.sise: unknown option, did you mean :size?
        * tls.cacertfile: can't read "priv/ca.pem": no such file or directory

  ## Fields

    * `name` - the cluster's name as given, or `nil`
    * `problems` - a list of maps with
      * `path` - where: `[:tls, :cacertfile]`, `[:contact_points, 0]`
      * `reason` - an atom to match on, such as `:unknown_option`, `:required`,
        `:invalid_value`, `:unreadable`, `:wrong_password`
      * `message` - the same for a reader, with what to do

  Values of options that may hold a secret, and of options that are unknown, never appear
  in it.
  """

  defexception name: nil, problems: []

  @typedoc "Where an option stands: keys, and indices of lists"
  @type path :: [atom() | non_neg_integer()]

  @typedoc "One thing that is wrong"
  @type problem :: %{path: path(), reason: atom(), message: String.t()}

  @type t :: %__MODULE__{name: term(), problems: [problem()]}

  @doc """
  All problems as one text.

      iex> problem = %{path: [:pool, :size], reason: :invalid_value, message: "must be positive"}
      iex> Exception.message(%Palladion.ConfigError{name: MyApp.DB, problems: [problem]})
      "the configuration of MyApp.DB has a problem: pool.size: must be positive"
  """
  @impl true
  @spec message(t()) :: String.t()
  def message(%__MODULE__{name: name, problems: [problem]}) do
    "the configuration#{of(name)} has a problem: #{line(problem)}"
  end

  def message(%__MODULE__{name: name, problems: problems}) do
    lines = Enum.map_join(problems, "\n", &"  * #{indent(line(&1))}")
    "the configuration#{of(name)} has #{length(problems)} problems:\n\n#{lines}"
  end

  defp of(nil), do: ""
  defp of(name), do: " of #{inspect(name)}"

  defp line(%{path: [], message: message}), do: message
  defp line(%{path: path, message: message}), do: "#{format_path(path)}: #{message}"

  defp indent(text), do: String.replace(text, "\n", "\n    ")

  @doc """
  An option's path as it is printed.

      iex> Palladion.ConfigError.format_path([:tls, :cacertfile])
      "tls.cacertfile"
      iex> Palladion.ConfigError.format_path([:contact_points, 0])
      "contact_points[0]"
  """
  @spec format_path(path()) :: String.t()
  def format_path([first | rest]) do
    Enum.reduce(rest, to_string(first), fn
      index, text when is_integer(index) -> "#{text}[#{index}]"
      key, text -> "#{text}.#{key}"
    end)
  end

  @doc false
  # What only the native library can judge, such as a key of an unknown kind.
  @spec from_native(term(), {atom(), map()}) :: t()
  def from_native(name, {kind, fields}) do
    option = Map.get(fields, :option, to_string(kind))
    message = "can't be used: #{Map.get(fields, :detail, kind)}"
    %__MODULE__{name: name, problems: [problem([option], :invalid_value, message)]}
  end

  @doc false
  # The one way problems are made, so that they all have the same shape.
  @spec problem(path(), atom(), String.t()) :: problem()
  def problem(path, reason, message), do: %{path: path, reason: reason, message: message}
end
