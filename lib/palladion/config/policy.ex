defmodule Palladion.Config.Policy do
  @moduledoc false
  # Internal: a policy as users write it (a short name or a module, with or without options) as
  # `{module, options}`. The options of ready-made ones are checked, those of others are theirs.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.Options
  alias Palladion.ConfigError

  @type t :: {module(), options :: term()}

  @typedoc """
  `ready_made` has the module of each short name, and a function that takes options and their
  path and returns them in their own form, with problems; `forms` is what to write, for a message.
  """
  @type kind :: %{
          behaviour: module(),
          callback: {atom(), arity()},
          forms: String.t(),
          ready_made: [{atom(), {module(), check}}]
        }
  @type check :: (term(), ConfigError.path() -> {term(), [ConfigError.problem()]})

  @doc false
  @spec parse(term(), kind(), ConfigError.path()) :: {t(), [ConfigError.problem()]}
  def parse({name, options}, kind, path), do: parse(name, options, kind, path)
  def parse(name, kind, path), do: parse(name, [], kind, path)

  defp parse(name, options, kind, path) when is_atom(name) and name not in [nil, true, false] do
    case ready_made(name, kind) do
      {module, check} ->
        {options, problems} = check.(options, path)
        {{module, options}, problems}

      nil ->
        {{name, options}, own(name, kind, path)}
    end
  end

  defp parse(name, options, kind, path) do
    given = if options == [], do: name, else: {name, options}
    message = "must be #{kind.forms}, got: #{Options.show(given)}"
    {{nil, options}, [problem(path, :invalid_value, message)]}
  end

  defp ready_made(name, kind) do
    Enum.find_value(kind.ready_made, fn {short, {module, _check} = found} ->
      if name in [short, module], do: found
    end)
  end

  defp own(module, kind, path) do
    {function, arity} = kind.callback

    cond do
      not Code.ensure_loaded?(module) ->
        advice = Options.suggestion(module, Keyword.keys(kind.ready_made))
        advice = advice || "it must be #{kind.forms}"
        message = "is #{inspect(module)}, and there is no such module; #{advice}"
        [problem(path, :unknown_module, message)]

      not function_exported?(module, function, arity) ->
        message =
          "is #{inspect(module)}, which has no #{function}/#{arity}; " <>
            "it must be a #{inspect(kind.behaviour)}"

        [problem(path, :invalid_value, message)]

      true ->
        []
    end
  end

  @doc false
  # The check of a ready-made policy that takes the options of a schema.
  @spec options(Options.schema()) :: check()
  def options(schema) do
    fn options, path ->
      {_values, problems} = Options.check(options, schema, path)
      {options, problems}
    end
  end
end
