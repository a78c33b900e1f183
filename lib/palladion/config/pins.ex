defmodule Palladion.Config.Pins do
  @moduledoc false
  # Internal: the certificates that alone are taken, by their SHA-256 fingerprints.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.Options
  alias Palladion.ConfigError

  @type pin :: <<_::256>>

  @command "openssl x509 -in FILE -noout -fingerprint -sha256"

  @doc false
  @spec parse(term()) :: {[pin()], [ConfigError.problem()]}
  def parse(nil), do: {[], []}

  def parse(pins) when is_list(pins) do
    cond do
      match?({:ok, _}, Options.charlist(pins)) -> single(pins)
      pins == [] or List.improper?(pins) -> {[], [not_pins()]}
      true -> several(pins)
    end
  end

  def parse(pin), do: single(pin)

  defp not_pins do
    message = "must be a SHA-256 fingerprint or a non-empty list of them"
    problem([:tls, :pinned], :invalid_value, message)
  end

  defp single(pin) do
    case fingerprint(pin) do
      {:ok, digest} -> {[digest], []}
      {:error, message} -> {[], [problem([:tls, :pinned], :invalid_value, message)]}
    end
  end

  defp several(pins) do
    results = Enum.map(pins, &fingerprint/1)

    problems =
      for {{:error, message}, index} <- Enum.with_index(results),
          do: problem([:tls, :pinned, index], :invalid_value, message)

    {for({:ok, digest} <- results, uniq: true, do: digest), problems}
  end

  # Of 32 random bytes, never are all of them digits.
  defp fingerprint(<<_::256>> = digest) do
    case Base.decode16(digest, case: :mixed) do
      {:ok, _md5} -> {:error, "is 32 hexadecimal digits, as MD5 has; take that of: #{@command}"}
      :error -> {:ok, digest}
    end
  end

  defp fingerprint(text) when is_binary(text) do
    case text |> String.replace([":", " "], "") |> Base.decode16(case: :mixed) do
      {:ok, <<_::256>> = digest} -> {:ok, digest}
      {:ok, <<_::160>>} -> {:error, "is a SHA-1 fingerprint; take that of: #{@command}"}
      _ -> {:error, not_a_fingerprint()}
    end
  end

  defp fingerprint(other) do
    case Options.charlist(other) do
      {:ok, text} -> fingerprint(text)
      :error -> {:error, not_a_fingerprint()}
    end
  end

  defp not_a_fingerprint do
    "is no SHA-256 fingerprint of a certificate (32 bytes, or 64 hexadecimal digits with or " <>
      "without colons); take that of: #{@command}"
  end
end
