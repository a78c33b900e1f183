defmodule Palladion.Config.Auth.Mechanism do
  @moduledoc false
  # Internal: the SASL mechanisms that a login may use.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Options, Seal}
  alias Palladion.ConfigError

  @typedoc "Without names, the server's authenticator decides"
  @type t :: %{names: [atom()], negotiate: boolean()}

  @with_password [:plain, :cram_md5, :digest_md5, :scram_sha_1, :scram_sha_256]
  @without_password [:external, :anonymous]
  @all @with_password ++ @without_password

  # Whose messages anybody may read.
  @readable [:scram_sha_1, :scram_sha_256] ++ @without_password

  @path [:auth, :mechanism]
  @by_class %{names: [], negotiate: false}

  @doc false
  # Sealed or not.
  @spec parse(term()) :: {t(), [ConfigError.problem()]}
  def parse(value), do: value |> Seal.reveal() |> read()

  defp read(nil), do: {@by_class, []}

  defp read([_ | _] = names) do
    cond do
      List.improper?(names) -> invalid(names)
      bad = Enum.find(names, &(&1 not in @all)) -> invalid(bad)
      mixed?(names) -> {@by_class, [problem(@path, :conflict, mixed())]}
      true -> {%{names: Enum.uniq(names), negotiate: true}, []}
    end
  end

  defp read(name) when name in @all, do: {%{names: [name], negotiate: false}, []}
  defp read(other), do: invalid(other)

  defp mixed?(names),
    do: Enum.any?(names, &(&1 in @with_password)) and Enum.any?(names, &(&1 in @without_password))

  defp mixed do
    ":external and :anonymous take no password, and so can't stand in a list with those that do"
  end

  defp invalid(given) do
    message = "must be #{forms()}#{Options.got(given)}"
    advice = advice(given)
    message = if advice, do: "#{message}; #{advice}", else: message
    {@by_class, [problem(@path, :invalid_value, message)]}
  end

  defp advice(given) when (is_atom(given) and given != nil) or is_binary(given),
    do: Options.suggestion(given, @all)

  defp advice(_other), do: nil

  defp forms, do: "#{Enum.map_join(@all, ", ", &inspect/1)}, or a list of them"

  @doc false
  # Those need no username and no password.
  @spec without_password?(t()) :: boolean()
  def without_password?(%{names: names}), do: Enum.any?(names, &(&1 in @without_password))

  @doc false
  # What others learn where there is no TLS, if anything.
  @spec exposed([atom()]) :: [String.t()]
  def exposed(names) do
    cond do
      names == [] or :plain in names -> ["the password"]
      names -- @readable == [] -> []
      true -> ["a digest that the password can be guessed by"]
    end
  end
end
