defmodule Palladion.Config.Auth.Custom do
  @moduledoc false
  # Internal: a login that is a module of the user's.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{OtherNames, Seal}
  alias Palladion.ConfigError

  @path [:auth, :authenticator]
  @callbacks [new: 2, initial_response: 1, evaluate_challenge: 2]

  @doc false
  @spec parse(term()) ::
          {{:authenticator, module(), Seal.sealed()} | nil, [ConfigError.problem()]}
  def parse(value) do
    case Seal.reveal(value) do
      {module, options} -> parse(module, options)
      module -> parse(module, [])
    end
  end

  defp parse(module, options) when is_atom(module) and module not in [nil, true, false] do
    case check(module) do
      :ok -> {{:authenticator, module, Seal.mask(options)}, []}
      {:error, reason, message} -> {nil, [problem(@path, reason, message)]}
    end
  end

  # Not shown: there may be a secret in it.
  defp parse(_other, _options) do
    message = "must be a module that is a Palladion.Authenticator, or {module, options}"
    {nil, [problem(@path, :invalid_value, message)]}
  end

  defp check(module) do
    loaded? = Code.ensure_loaded?(module)

    missing =
      for {function, arity} <- @callbacks,
          not function_exported?(module, function, arity),
          do: "#{function}/#{arity}"

    cond do
      not loaded? -> {:error, :unknown_module, unknown(module)}
      missing != [] -> {:error, :invalid_value, incomplete(module, missing)}
      true -> :ok
    end
  end

  defp unknown(module) do
    advice = OtherNames.authenticator(module) || "it must be a Palladion.Authenticator"
    "is #{inspect(module)}, and there is no such module; #{advice}"
  end

  defp incomplete(module, missing) do
    "is #{inspect(module)}, which has no #{Enum.join(missing, " and no ")}; it must be a " <>
      "Palladion.Authenticator"
  end
end
